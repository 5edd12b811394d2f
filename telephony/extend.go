package telephony

// AsInput is embedded by an input that a machine adds to these for its own owner, such as what the queue tells a call. It makes the
// struct an Input, so that a machine has one door. The edge never makes one.
type AsInput struct{}

func (AsInput) input() {}

// AsEffect is embedded by an effect that a machine adds to these for its own owner, such as what a call asks of the queue. It makes
// the struct an Effect. The owner takes it out of the list; the edge never sees one.
type AsEffect struct{}

func (AsEffect) effect() {}
