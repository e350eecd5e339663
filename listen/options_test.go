package listen

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidate(t *testing.T) {
	const (
		all  = "needs TLS and a credential: give --tls-cert-file and --tls-key-file, and --auth-token-file or --tls-client-ca-file (or --insecure to let everybody in)"
		auth = "needs TLS and a credential: give --auth-token-file or --tls-client-ca-file (or --insecure to let everybody in)"
		tls  = "needs TLS and a credential: give --tls-cert-file and --tls-key-file (or --insecure to let everybody in)"
	)
	for name, c := range map[string]struct {
		o    Options
		want string // nothing: accepted
	}{
		"127.0.0.1":                 {Options{Address: "127.0.0.1:7070"}, ""},
		"127.8.8.8":                 {Options{Address: "127.8.8.8:0"}, ""},
		"::1":                       {Options{Address: "[::1]:7070"}, ""},
		"mapped":                    {Options{Address: "[::ffff:127.0.0.1]:7070"}, ""},
		"localhost":                 {Options{Address: "LocalHost:7070"}, ""},
		"unix":                      {Options{Address: "unix:/run/x.sock"}, ""},
		"loopback with token":       {Options{Address: "127.0.0.1:1", TokenFile: "t"}, ""},
		"all, nothing":              {Options{Address: ":7070"}, all},
		"0.0.0.0, nothing":          {Options{Address: "0.0.0.0:7070"}, all},
		"[::], nothing":             {Options{Address: "[::]:7070"}, all},
		"address, nothing":          {Options{Address: "10.0.0.1:7070"}, all},
		"name, nothing":             {Options{Address: "node1:7070"}, all},
		"a name that looks local":   {Options{Address: "127.0.0.1.example.org:7070"}, all},
		"only TLS":                  {Options{Address: ":7070", CertFile: "c", KeyFile: "k"}, auth},
		"only a token":              {Options{Address: ":7070", TokenFile: "t"}, tls},
		"TLS and token":             {Options{Address: ":7070", CertFile: "c", KeyFile: "k", TokenFile: "t"}, ""},
		"TLS and client CA":         {Options{Address: ":7070", CertFile: "c", KeyFile: "k", ClientCAFile: "a"}, ""},
		"insecure":                  {Options{Address: ":7070", Insecure: true}, ""},
		"certificate without key":   {Options{Address: "127.0.0.1:1", CertFile: "c"}, "--tls-cert-file needs --tls-key-file as well"},
		"key without certificate":   {Options{Address: ":1", KeyFile: "k", Insecure: true}, "--tls-key-file needs --tls-cert-file as well"},
		"client CA without TLS":     {Options{Address: "127.0.0.1:1", ClientCAFile: "a"}, "--tls-client-ca-file needs TLS: give --tls-cert-file and --tls-key-file as well"},
		"no port":                   {Options{Address: "127.0.0.1"}, "want host:port or unix:/path"},
		"nothing":                   {Options{}, "want host:port or unix:/path"},
		"no path":                   {Options{Address: "unix:"}, "lacks the path"},
		"an insecure broken listen": {Options{Address: "x", Insecure: true}, "want host:port or unix:/path"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.o.Validate()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			_, err = New(c.o)
			require.ErrorContains(t, err, c.want, "New refuses what Validate refuses")
		})
	}
}

func TestParseTokens(t *testing.T) {
	tokens, err := parseTokens([]byte("# agents\nagent-1: one  # until May\n\n two\r\nthree"))
	require.NoError(t, err)
	require.Len(t, tokens, 3)
	for text, want := range map[string]string{
		"":                      "holds no token",
		"# only\nname:\n":       "holds no token",
		"ok\nse cret":           "line 2: a token has no blanks",
		"ok\nname: s\u00e9cret": "line 2: a token has no blanks",
	} {
		_, err := parseTokens([]byte(text))
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "cret")
	}
	many := make([]byte, 0, 4*maxTokens)
	for range maxTokens {
		many = append(many, "x\n"...)
	}
	_, err = parseTokens(many)
	require.NoError(t, err)
	_, err = parseTokens(append(many, 'x'))
	require.ErrorContains(t, err, "more than 1024 tokens")
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte("# agents\nagent-1: one  # until May\n\n two\n"))
	f.Add([]byte(":::\n#"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens, err := parseTokens(b)
		if (err == nil) != (len(tokens) > 0) {
			t.Fatalf("%d tokens, error %v", len(tokens), err)
		}
	})
}
