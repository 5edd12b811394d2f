package phonetest

// G.711 by the formulas of ITU-T G.191, one sample at a time: slow, and not the server's tables.
func toA(v int16) byte {
	x := int(v)
	if x < 0 {
		x = ^x
	}
	x >>= 4
	if x > 15 {
		exp := 1
		for x > 31 {
			x >>= 1
			exp++
		}
		x += exp<<4 - 16
	}
	if v >= 0 {
		x |= 0x80
	}
	return byte(x) ^ 0x55
}

func fromA(c byte) int16 {
	c ^= 0x55
	exp, man := int(c&0x70)>>4, int(c&0x0f)
	v := man<<4 + 8
	if exp > 0 {
		v = (v + 0x100) << (exp - 1)
	}
	if c&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

func toU(v int16) byte {
	x, sign := int(v), byte(0x80)
	if x < 0 {
		x, sign = -x, 0
	}
	x = min(x, 32635) + 132
	exp := 7
	for m := 0x4000; exp > 0 && x&m == 0; m >>= 1 {
		exp--
	}
	return ^(sign ^ 0x80 | byte(exp<<4) | byte(x>>(exp+3))&0x0f)
}

func fromU(c byte) int16 {
	c = ^c
	v := (int(c&0x0f)<<3+132)<<(int(c&0x70)>>4) - 132
	if c&0x80 != 0 {
		v = -v
	}
	return int16(v)
}
