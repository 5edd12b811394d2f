package wire

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"yingda/intake"
)

//go:embed schemas/*.json
var schemaFiles embed.FS

// Schema gives the JSON Schema (2020-12) of an event of the type: the envelope, its data, and the personal part both sealed and
// in clear. false for a type that isn't in the catalogue.
func Schema(t intake.Type) ([]byte, bool) {
	if _, known := shapes[t]; !known {
		return nil, false
	}
	raw, err := schemaFiles.ReadFile("schemas/" + string(t) + ".json")
	if err != nil {
		return nil, false
	}
	return raw, true
}

// Schemas gives all of them by type; intake.Types has their order.
func Schemas() map[intake.Type][]byte {
	m := make(map[intake.Type][]byte, len(shapes))
	for t := range shapes {
		if raw, ok := Schema(t); ok {
			m[t] = raw
		}
	}
	return m
}

// validate holds an event against the schema of its type.
func (c *Codec) validate(raw []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return form("not JSON")
	}
	top, _ := doc.(map[string]any)
	name, _ := top["type"].(string)
	if name == "" {
		return form("no type")
	}
	schema, err := c.schema(intake.Type(name))
	if err != nil {
		return err
	}
	if err := schema.Validate(doc); err != nil {
		return form("%s", complaints(err))
	}
	return nil
}

func (c *Codec) schema(t intake.Type) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.compiled[t]; s != nil {
		return s, nil
	}
	raw, ok := Schema(t)
	if !ok {
		return nil, form("type %q is not in the catalogue", t)
	}
	s, err := compile(t, raw)
	if err != nil {
		return nil, err
	}
	c.compiled[t] = s
	return s, nil
}

func compile(t intake.Type, raw []byte) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(nowhere{})
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	if err := c.AddResource(schemaPrefix+string(t), doc); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	s, err := c.Compile(schemaPrefix + string(t))
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	return s, nil
}

// nowhere loads nothing: each schema is whole.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) { return nil, fmt.Errorf("schema %s is not ours", url) }

// complaints says what a schema found, without the values: where, and what is wanted there.
func complaints(err error) string {
	v, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return "not JSON"
	}
	var list []string
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, cause := range v.Causes {
			walk(cause)
		}
		if len(v.Causes) == 0 {
			list = append(list, strings.Join(v.InstanceLocation, ".")+": "+complaint(v.ErrorKind))
		}
	}
	walk(v)
	slices.Sort(list)
	list = slices.Compact(list)
	if more := len(list) - 5; more > 0 {
		list = append(list[:5], fmt.Sprintf("and %d more", more))
	}
	return strings.TrimPrefix(strings.Join(list, "; "), ": ")
}

func complaint(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "missing " + strings.Join(k.Missing, ", ")
	case *kind.DependentRequired:
		return "missing " + strings.Join(k.Missing, ", ")
	case *kind.Type:
		return fmt.Sprintf("is a %s, want %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return fmt.Sprintf("is none of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("is not %v", k.Want)
	case *kind.Pattern:
		return "is not of the form " + k.Want
	case *kind.Format:
		return "is no " + k.Want
	case *kind.MinLength:
		return "is too short"
	}
	return "breaks the rule " + strings.Join(k.KeywordPath(), ".")
}
