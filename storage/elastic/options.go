package elastic

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options.
const (
	DefaultIndex     = "logs-binnacle-default"
	DefaultRetention = 7 * 24 * time.Hour
	DefaultTimeout   = 60 * time.Second

	defaultRolloverAge  = 24 * time.Hour
	defaultRolloverSize = 50 << 30
	defaultPoll         = 250 * time.Millisecond
)

// Options of a Store.
type Options struct {
	// URLs of the servers, such as https://es-0:9200. Requests are spread over
	// them, those that fail are left out for a while. They hold no user or
	// password. Either URLs or CloudID must be set.
	URLs []string
	// CloudID names a deployment of Elastic Cloud.
	CloudID string
	// Username and PasswordFile are basic authentication. Like the other
	// files below, the file is read again when it changes.
	Username     string
	PasswordFile string
	// APIKeyFile holds the encoded API key ("id:key" in base64).
	APIKeyFile string
	// CAFile holds the certificates (PEM) to trust instead of the system's,
	// CertFile and KeyFile the client's own.
	CAFile, CertFile, KeyFile string
	// OpenSearch says that the servers are OpenSearch. The client takes any
	// other server than Elasticsearch for a mistake.
	OpenSearch bool

	// Index is the name of the data stream, or of the alias where the server
	// has no data streams. Documents that the server cannot take go to another
	// of this name with "dead-letters-" before it.
	Index string
	// Retention is how long records are kept, at least. Negative keeps them.
	Retention time.Duration
	// RolloverAge and RolloverSize (bytes of a primary shard) end an index and
	// begin the next; whole indices are deleted.
	RolloverAge  time.Duration
	RolloverSize int64
	// Shards and Replicas of each index; 0 shards means 1, nil replicas leaves
	// the number to the server.
	Shards   int
	Replicas *int
	// Codec of the stored documents, such as "best_compression"; "" leaves it
	// to the server.
	Codec string

	// Timeout of one request.
	Timeout time.Duration
	// Poll is how often a live tail asks for new records.
	Poll time.Duration

	Logger *slog.Logger
	// Registerer takes the metrics of the store; nil leaves them out.
	Registerer prometheus.Registerer
}

// indexName is what both servers take for the name of an index, shortened so
// that the suffixes of generations fit.
var indexName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// withDefaults checks o and fills what is left out.
func (o Options) withDefaults() (Options, error) {
	if (len(o.URLs) == 0) == (o.CloudID == "") {
		return o, errors.New("elasticsearch needs either URLs or a cloud ID")
	}
	for _, raw := range o.URLs {
		if err := checkURL(raw); err != nil {
			return o, err
		}
	}
	if o.APIKeyFile != "" && o.Username != "" {
		return o, errors.New("elasticsearch takes either an API key or a user, not both")
	}
	if (o.Username == "") != (o.PasswordFile == "") {
		return o, errors.New("elasticsearch: a user needs a password file and the other way round")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return o, errors.New("elasticsearch: a client certificate needs both a certificate file and a key file")
	}
	setDefault(&o.Index, DefaultIndex)
	if !indexName.MatchString(o.Index) {
		return o, fmt.Errorf("elasticsearch: index name %q: want up to 128 lower-case letters, digits, '.', '_' and '-', a letter or digit first", o.Index)
	}
	setDefault(&o.Retention, DefaultRetention)
	setDefault(&o.RolloverAge, min(defaultRolloverAge, max(time.Minute, o.Retention.Abs()/4)))
	setDefault(&o.RolloverSize, int64(defaultRolloverSize))
	setDefault(&o.Shards, 1)
	setDefault(&o.Timeout, DefaultTimeout)
	setDefault(&o.Poll, defaultPoll)
	if o.Shards < 0 || o.RolloverAge < 0 || o.RolloverSize < 0 || o.Timeout < 0 || o.Poll < 0 {
		return o, errors.New("elasticsearch: shards, rollover age and size, timeout and poll interval must not be negative")
	}
	if o.Replicas != nil && *o.Replicas < 0 {
		return o, errors.New("elasticsearch: the number of replicas must not be negative")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// checkURL returns an error without what may be secret in raw.
func checkURL(raw string) error {
	const like = "the URL should look like https://elasticsearch:9200"
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("elasticsearch: cannot parse a URL; " + like) // url.Parse quotes it
	}
	name := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.User != nil {
		return fmt.Errorf("elasticsearch %s: the URL must not hold a user or password; use their files", name)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || strings.Contains(raw, "#") {
		return fmt.Errorf("elasticsearch %q: %s", name, like)
	}
	return nil
}
