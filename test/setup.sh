#!/usr/bin/env bash
# Sees that the programs which the tests need are there; installs Debian's packages when root, else says what is missing.
set -euo pipefail
declare -A package=([sipp]=sip-tester [baresip]=baresip-core [chromium]=chromium [espeak-ng]=espeak-ng [sox]=sox)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
# A page in Chinese needs a font that has the characters.
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "The tests need these Debian packages: ${missing[*]}" >&2
  echo "Install them with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
