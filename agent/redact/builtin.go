package redact

// keyRule is the name of what keyBlocks do.
const keyRule = "private-key"

// builtin are rules that are safe to apply everywhere: what they match is a
// credential by its form, or by the words right before it. There is none for
// things such as "password: x", which are mostly no secrets and never look
// alike. Private keys have more than one line and code of their own.
var builtin = []Rule{
	{
		Name: "bearer-token", Regexp: `(?i)(\bbearer[ \t]+)[a-z0-9._~+/-]{16,}=*`, Replacement: "${1}" + Redacted,
		anyOf: []string{"bear"},
	},
	{
		Name: "basic-auth", Regexp: `(?i)(\bauthorization["']?[ \t]*[:=][ \t]*["']?basic[ \t]+)[a-z0-9+/_-]{8,}=*`, Replacement: "${1}" + Redacted,
		anyOf: []string{"riza"},
	},
	{
		Name: "aws-access-key-id", Regexp: `\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`,
		anyOf: []string{"AKIA", "ASIA"},
	},
	{
		Name: "aws-secret-access-key", Regexp: `(?i)(secret_?(?:access_?)?key["']?[ \t]*[:=][ \t]*["']?)[a-z0-9/+]{40}\b`, Replacement: "${1}" + Redacted,
		anyOf: []string{"ecre"},
	},
	{
		// The last @ before the path ends the password: it may hold others.
		Name: "url-password", Regexp: `(://[^\s/?#:@"'<>]*:)[^\s/?#"'<>]+(@)`, Replacement: "${1}" + Redacted + "${2}",
		needs: []string{"@", "://"},
	},
	{
		Name: "github-token", Regexp: `\b(?:gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})`,
		anyOf: []string{"gho_", "ghp_", "ghr_", "ghs_", "ghu_", "b_pa"},
	},
	{
		Name: "gitlab-token", Regexp: `\bglpat-[A-Za-z0-9_-]{20,}`,
		anyOf: []string{"glpa"},
	},
	{
		Name: "slack-token", Regexp: `\bxox[abeprs]-[A-Za-z0-9-]{10,}`,
		anyOf: []string{"xoxa", "xoxb", "xoxe", "xoxp", "xoxr", "xoxs"},
	},
	{
		Name: "google-api-key", Regexp: `\bAIza[A-Za-z0-9_-]{35}`,
		anyOf: []string{"AIza"},
	},
	{
		Name: "stripe-key", Regexp: `\b[rs]k_live_[A-Za-z0-9]{16,}`,
		anyOf: []string{"k_li"},
	},
	{
		Name: "jwt", Regexp: `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`,
		anyOf: []string{".eyJ"},
	},
}
