package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

var formToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// SignIn gives a client that is signed in at the pages (http://…, no path), as a browser would be.
func SignIn(ctx context.Context, pages, login, password string) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Jar: jar}
	request := func(method string, body url.Values) (string, string, error) {
		req, err := http.NewRequestWithContext(ctx, method, pages+"/sign-in", strings.NewReader(body.Encode()))
		if err != nil {
			return "", "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(req)
		if err != nil {
			return "", "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return string(text), res.Request.URL.Path, err
	}
	page, _, err := request(http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	m := formToken.FindStringSubmatch(page)
	if m == nil {
		return nil, errors.New("the page for signing in has no token")
	}
	_, at, err := request(http.MethodPost, url.Values{"csrf": {m[1]}, "login": {login}, "password": {password}})
	if err == nil && at == "/sign-in" {
		err = fmt.Errorf("%s could not sign in", login)
	}
	return client, err
}
