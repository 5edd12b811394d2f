package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	es "github.com/elastic/go-elasticsearch/v8"
)

// Deadlines of one request.
const (
	shortTime = 10 * time.Second // questions
	longTime  = 60 * time.Second // writes, and what waits for a disk
	maxAnswer = 256 << 20        // bytes of an answer; 200 hits of the longest documents stay far below
)

// client sends requests.
type client struct {
	base  *es.BaseClient
	idle  func()
	nodes int
}

func newClient(c Config) (*client, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("search index: certificate authority: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("search index: %s holds no certificate in PEM", c.CA)
		}
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}
	base, err := es.NewBaseClient(es.Config{
		Addresses: c.Addresses, Username: c.User, Password: c.Password, APIKey: c.APIKey,
		Transport: transport, DisableRetry: true, DisableMetaHeader: true, // we try again ourselves, and tell nobody how we are built
	})
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	return &client{base, transport.CloseIdleConnections, len(c.Addresses)}, nil
}

func (c *client) close() error {
	err := c.base.Close(context.Background())
	c.idle()
	if errors.Is(err, es.ErrAlreadyClosed) {
		return nil
	}
	return err
}

// Error is what Elasticsearch answered when it did not do what it was asked.
type Error struct {
	Status int
	Type   string // "index_not_found_exception"
	Reason string // without values of documents
}

// Error says it in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("Elasticsearch answers %d %s: %s", e.Status, e.Type, e.Reason)
}

// do sends a request and reads the answer into out when that is not nil. When a node cannot be reached, the next one is asked.
func (c *client) do(ctx context.Context, limit time.Duration, method, path, kind string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	for range c.nodes {
		var res *http.Response
		var req *http.Request
		var r io.Reader
		if body != nil {
			r = bytes.NewReader(body)
		}
		if req, err = http.NewRequestWithContext(ctx, method, path, r); err != nil {
			return fmt.Errorf("search index: %w", err)
		}
		req.Header.Set("Accept", "application/json")
		if body != nil {
			req.Header.Set("Content-Type", kind)
		}
		if res, err = c.base.Perform(req); err == nil {
			return read(res, out)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("search index: no answer from Elasticsearch: %w", err)
}

func read(res *http.Response, out any) error {
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection can be used again
		_ = res.Body.Close()
	}()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("search index: read the answer of Elasticsearch: %w", err)
	}
	if len(b) > maxAnswer {
		return errors.New("search index: the answer of Elasticsearch is too long")
	}
	if res.StatusCode/100 != 2 {
		return failure(res.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("search index: the answer of Elasticsearch cannot be read: %w", err)
	}
	return nil
}

// cause is an error as it stands in an answer.
type cause struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// clean takes values of documents out of a reason.
func (c cause) clean() string {
	reason, _, _ := strings.Cut(c.Reason, " Preview of field's value")
	if c.Type == "illegal_argument_exception" || c.Type == "document_parsing_exception" || c.Type == "mapper_parsing_exception" {
		reason, _, _ = strings.Cut(reason, ": ") // what comes behind quotes the value
	}
	if len(reason) > 300 {
		reason = strings.ToValidUTF8(reason[:300], "") + "…"
	}
	return reason
}

func failure(status int, body []byte) error {
	var a struct {
		Error json.RawMessage `json:"error"`
	}
	e := &Error{Status: status, Type: http.StatusText(status)}
	if json.Unmarshal(body, &a) == nil {
		var c cause
		if json.Unmarshal(a.Error, &c) == nil && c.Type != "" {
			e.Type, e.Reason = c.Type, c.clean()
		} else {
			_ = json.Unmarshal(a.Error, &e.Reason)
		}
	}
	return e
}

// json sends a value and reads the answer into out.
func (c *client) json(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("search index: %w", err)
		}
	}
	return c.do(ctx, limit, method, path, "application/json", body, out)
}

// status of an error, 0 when Elasticsearch did not answer.
func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func kindOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Type
	}
	return ""
}
