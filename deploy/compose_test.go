// Package deploy has no code of its own: its tests look at the files that bring yingda up elsewhere, where no Docker engine runs.
package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"yingda/internal/app"
)

type service struct {
	Build           struct{ Context, Dockerfile string }
	Image           string
	NetworkMode     string                                `yaml:"network_mode"`
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	Environment     map[string]string
	Ports           []string
	Volumes         []string
	Healthcheck     struct{ Test []string }
	StopGracePeriod string `yaml:"stop_grace_period"`
}

func read(t *testing.T) (raw any, services map[string]service, volumes map[string]any) {
	t.Helper()
	b, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Services map[string]service
		Volumes  map[string]any
	}
	for _, into := range []any{&raw, &all} {
		if err := yaml.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return raw, all.Services, all.Volumes
}

// The file is what the Compose Specification allows (its schema, Apache-2.0, stands in testdata).
func TestComposeSchema(t *testing.T) {
	raw, _, _ := read(t)
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "compose-spec.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
}

var pinned = regexp.MustCompile(`^[a-z0-9/]+:[0-9]`)

func TestComposeIsSafeAndWhole(t *testing.T) {
	_, services, volumes := read(t)
	for _, name := range []string{"yingda", "kafka", "elasticsearch", "postgres"} {
		s, ok := services[name]
		if !ok {
			t.Errorf("there is no service %s", name)
			continue
		}
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s has no health check", name)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s is open to others at %s", name, p)
			}
		}
		if len(s.Volumes) == 0 {
			t.Errorf("%s forgets everything when it is made anew", name)
		}
		for _, v := range s.Volumes {
			if _, ok := volumes[strings.Split(v, ":")[0]]; !ok {
				t.Errorf("%s uses the volume %s, which is not named", name, v)
			}
		}
		for k, v := range s.Environment {
			if strings.Contains(strings.ToLower(k), "password") && !strings.HasPrefix(v, "${") {
				t.Errorf("%s has a password in the file: %s", name, k)
			}
		}
		if name == "yingda" {
			continue
		}
		if !pinned.MatchString(s.Image) || s.NetworkMode != "" {
			t.Errorf("%s: image %q, network %q", name, s.Image, s.NetworkMode)
		}
		if services["yingda"].DependsOn[name].Condition != "service_healthy" {
			t.Errorf("yingda does not wait for %s", name)
		}
	}
	y := services["yingda"]
	if _, err := os.Stat(filepath.Join(y.Build.Context, y.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
}

// What the file sets is what the program reads.
func TestComposeSettings(t *testing.T) {
	_, services, _ := read(t)
	var environ []string
	for k, v := range services["yingda"].Environment {
		environ = append(environ, k+"="+regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(v, "secret"))
	}
	c, err := app.Load("", environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/var/lib/yingda" || c.HTTP.Listen != "127.0.0.1:8080" || c.SIP.UDP != "127.0.0.1:5060" || c.SIP.TCP != "127.0.0.1:5060" ||
		c.Tables.Address != "postgres://yingda:secret@127.0.0.1:5432/yingda?sslmode=disable" || !slices.Equal(c.Search.Elastic.Addresses, []string{"http://127.0.0.1:9200"}) {
		t.Errorf("%+v", c)
	}
	for _, host := range []string{c.HTTP.Listen, c.SIP.UDP, c.SIP.TCP} {
		if !strings.HasPrefix(host, "127.0.0.1:") {
			t.Errorf("yingda listens at %s", host)
		}
	}
}
