// Package search breaks a rule: an arm imports another.
package search

import _ "yingda/telephony"
