// Command benthos is Benthos, the stream processor that is now Redpanda Connect, in the last release before that, whose licence (MIT) lets it be measured. It has what the way
// from Kafka to Elasticsearch takes and nothing more, and is a module of its own, so yingda needs nothing of it.
package main

import (
	"context"

	_ "github.com/benthosdev/benthos/v4/public/components/elasticsearch"
	_ "github.com/benthosdev/benthos/v4/public/components/io"
	_ "github.com/benthosdev/benthos/v4/public/components/kafka"
	_ "github.com/benthosdev/benthos/v4/public/components/pure"
	"github.com/benthosdev/benthos/v4/public/service"
)

func main() { service.RunCLI(context.Background()) }
