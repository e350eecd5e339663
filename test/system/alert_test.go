//go:build system

package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// alert is an alert of the API.
type alert struct {
	Labels   map[string]string
	State    string
	ActiveAt time.Time
}

func alertNamed(t testing.TB, addr, name string) (alert, bool) {
	t.Helper()
	var data struct{ Alerts []alert }
	if err := get(addr, "/api/v1/alerts", nil, &data); err != nil {
		t.Fatal(err)
	}
	for _, a := range data.Alerts {
		if a.Labels["alertname"] == name {
			return a, true
		}
	}
	return alert{}, false
}

// atAlertmanager tells whether the Alertmanager has the alert as active.
func atAlertmanager(addr, name string) bool {
	resp, err := http.Get("http://" + addr + "/api/v2/alerts?active=true")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var alerts []struct{ Labels map[string]string }
	if json.NewDecoder(resp.Body).Decode(&alerts) != nil {
		return false
	}
	for _, a := range alerts {
		if a.Labels["alertname"] == name {
			return true
		}
	}
	return false
}

// TestAlert lets an alert on a busy process reach Debian's Alertmanager and
// resolve; kill -9 while an alert is pending does not lose since when.
func TestAlert(t *testing.T) {
	dir, am, addr := t.TempDir(), address(t), address(t)
	config := filepath.Join(dir, "alertmanager.yml")
	writeFile(t, config, "route: {receiver: none}\nreceivers: [{name: none}]\n")
	start(t, nil, "prometheus-alertmanager", "--config.file="+config, "--storage.path="+dir+"/am",
		"--web.listen-address="+am, "--cluster.listen-address=").awaitReady(t, "http://"+am+"/-/ready")

	b := newBurner(t, "alert", 0)
	expr := fmt.Sprintf("rate(container_cpu_usage_seconds_total{id=%q}[10s]) > 0.05", b.id)
	writeFile(t, filepath.Join(dir, "rules.yml"), fmt.Sprintf(`groups:
- name: busy
  interval: 1s
  rules:
  - {alert: Busy, expr: '%[1]s', for: 3s}
  - {alert: BusyForLong, expr: '%[1]s', for: 1h}
`, expr))
	args := []string{
		"run", "--data-dir", filepath.Join(dir, "data"), "--interval", "1s",
		"--rules", filepath.Join(dir, "rules.yml"), "--alertmanager", "http://" + am,
	}
	p := binnacle(t, addr, args...)
	await(t, "Busy at the Alertmanager", func() bool { return atAlertmanager(am, "Busy") })
	before, ok := alertNamed(t, addr, "BusyForLong")
	if !ok || before.State != "pending" {
		t.Fatalf("BusyForLong: %+v, present: %v; want it pending", before, ok)
	}
	time.Sleep(2 * time.Second) // the state is stored with the next evaluation

	killed := time.Now()
	p.stop(t, syscall.SIGKILL)
	binnacle(t, addr, args...)
	// The time that the server was away does not count as pending: the alert
	// is active since so much later, but since before the kill. It is restored
	// with the second evaluation.
	var after alert
	await(t, "BusyForLong active since before the kill", func() bool {
		after, ok = alertNamed(t, addr, "BusyForLong")
		return ok && after.State == "pending" && after.ActiveAt.Before(killed)
	})
	t.Logf("active since %v, after kill -9 since %v", before.ActiveAt, after.ActiveAt)

	b.stop()
	await(t, "Busy resolved at the Alertmanager", func() bool { return !atAlertmanager(am, "Busy") })
}
