// Package gcj02 moves points between WGS-84, which is what we keep, and GCJ-02, in which Chinese maps and phones give positions. GCJ-02 lies some
// hundred metres beside WGS-84 by a formula that is known and was never published as a standard (CGCS2000 differs from WGS-84 by centimetres).
//
// It cannot tell which of the two a point is in: whoever hands one in says so.
package gcj02

import (
	"math"

	"yingda/intake"
)

const (
	krasovskyA  = 6378245.0              // m, the ellipsoid in the formula
	krasovskyEE = 0.00669342162296594323 // its eccentricity squared
)

// To moves a point in WGS-84 to GCJ-02. Outside of China both are the same.
func To(p intake.Place) intake.Place {
	if outside(p) {
		return p
	}
	x, y := p.Lon-105, p.Lat-35
	swing := (20*math.Sin(6*x*math.Pi) + 20*math.Sin(2*x*math.Pi)) * 2 / 3
	dLat := -100 + 2*x + 3*y + 0.2*y*y + 0.1*x*y + 0.2*math.Sqrt(math.Abs(x)) + swing +
		(20*math.Sin(y*math.Pi)+40*math.Sin(y/3*math.Pi))*2/3 + (160*math.Sin(y/12*math.Pi)+320*math.Sin(y*math.Pi/30))*2/3
	dLon := 300 + x + 2*y + 0.1*x*x + 0.1*x*y + 0.1*math.Sqrt(math.Abs(x)) + swing +
		(20*math.Sin(x*math.Pi)+40*math.Sin(x/3*math.Pi))*2/3 + (150*math.Sin(x/12*math.Pi)+300*math.Sin(x/30*math.Pi))*2/3
	rad := p.Lat / 180 * math.Pi
	magic := 1 - krasovskyEE*math.Sin(rad)*math.Sin(rad)
	root := math.Sqrt(magic)
	return intake.Place{
		Lat: p.Lat + dLat*180/(krasovskyA*(1-krasovskyEE)/(magic*root)*math.Pi),
		Lon: p.Lon + dLon*180/(krasovskyA/root*math.Cos(rad)*math.Pi),
	}
}

// FromGCJ is the way back. There is no formula for it; we step towards the point that To moves to p, until it is within a tenth
// of a millimetre. Beside the edge of the box in which the formula holds there may be none: then the nearest found is given.
func From(p intake.Place) intake.Place {
	if outside(p) {
		return p
	}
	q := p
	for range 30 {
		there := To(q)
		dLat, dLon := there.Lat-p.Lat, there.Lon-p.Lon
		q.Lat, q.Lon = q.Lat-dLat, q.Lon-dLon
		if math.Abs(dLat) < 1e-9 && math.Abs(dLon) < 1e-9 {
			break
		}
	}
	return q
}

// outside is the box that everybody who uses the formula takes for China.
func outside(p intake.Place) bool {
	return !(p.Lon >= 72.004 && p.Lon <= 137.8347 && p.Lat >= 0.8293 && p.Lat <= 55.8271)
}
