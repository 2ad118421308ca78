#include "core/load_tables.h"

#include <stddef.h>

#define REQUIRED .flags = SCHEMA_REQUIRED
#define MAY_BE_0 .flags = SCHEMA_ALLOW_ZERO
#define ONE_KEY_EACH .flags = SCHEMA_ALLOW_ZERO | SCHEMA_ONE_KEY
#define YEAR (365LL * 86400 * 1000)

const struct schema_key load_tables_file[] = {
	{ .name = "rotor", .type = SCHEMA_INT, .min = 1, .max = 1, REQUIRED, .help = "version of this format" },
	{ .name = "policies", .type = SCHEMA_OBJECT, .help = "policies by name" },
	{ .name = "secrets", .type = SCHEMA_OBJECT, .help = "secrets by id" },
	{ 0 },
};

static const struct schema_key freeze_keys[] = {
	{ .name = "from", .type = SCHEMA_TIME, REQUIRED, .help = "first moment" },
	{ .name = "to", .type = SCHEMA_TIME, REQUIRED, .help = "first moment after it" },
	{ .name = "reason", .type = SCHEMA_STRING, .help = "shown where it holds a rotation up" },
	{ 0 },
};

static const struct schema_key probe_keys[] = {
	{ .name = "successes", .type = SCHEMA_INT, .fallback = "2", .min = 1, .max = 1000, .help = "log-ins in a row" },
	{ .name = "query", .type = SCHEMA_STRING, .help = "what the new credential must be able to do" },
	{ .name = "timeout", .type = SCHEMA_DURATION, .fallback = "1m", .help = "how long further endpoints may lag" },
	{ 0 },
};

static const struct schema_key canary_keys[] = {
	{ .name = "consumers", .type = SCHEMA_INT, .fallback = "0", .max = 256, .help = "how many are told first" },
	{ .name = "bake", .type = SCHEMA_DURATION, .fallback = "5m", MAY_BE_0, .help = "how long they are watched" },
	{ 0 },
};

static const struct schema_key wait_keys[] = {
	{ .name = "timeout", .type = SCHEMA_DURATION, .fallback = "30m", .help = "how long a receipt may take" },
	{ 0 },
};

static const struct schema_key drain_keys[] = {
	{ .name = "quiet_for",
	  .type = SCHEMA_DURATION,
	  .fallback = "15m",
	  .help = "how long the old one must be unused" },
	{ .name = "sample", .type = SCHEMA_DURATION, .fallback = "10s", .help = "time between two looks" },
	{ .name = "timeout", .type = SCHEMA_DURATION, .fallback = "2h", .help = "how long to wait for that" },
	{ .name = "on_timeout",
	  .type = SCHEMA_ENUM,
	  .fallback = "hold",
	  .allowed = "hold|revoke",
	  .help = "what then" },
	{ 0 },
};

static const struct schema_key retry_keys[] = {
	{ .name = "deadline", .type = SCHEMA_DURATION, .fallback = "10m", .help = "how long a step is tried again" },
	{ 0 },
};

const struct schema_key load_tables_policy[] = {
	{ .name = "rotate_every",
	  .type = SCHEMA_DURATION,
	  .fallback = "30d",
	  .max = 100 * YEAR,
	  .help = "time between rotations" },
	{ .name = "max_age", .type = SCHEMA_DURATION, .max = 100 * YEAR, .help = "verify fails beyond it" },
	{ .name = "jitter",
	  .type = SCHEMA_PERCENT,
	  .fallback = "0%",
	  .help = "how much earlier a rotation may be due" },
	{ .name = "window", .type = SCHEMA_WINDOW, .help = "when rotations may change something" },
	{ .name = "freeze",
	  .type = SCHEMA_OBJECTS,
	  .fallback = "[]",
	  MAY_BE_0,
	  .sub = freeze_keys,
	  .help = "when they may not" },
	{ .name = "probe",
	  .type = SCHEMA_OBJECT,
	  .fallback = "{}",
	  .sub = probe_keys,
	  .help = "the log-in with a new version" },
	{ .name = "canary",
	  .type = SCHEMA_OBJECT,
	  .fallback = "{}",
	  .sub = canary_keys,
	  .help = "consumers told before the rest" },
	{ .name = "confirm",
	  .type = SCHEMA_OBJECT,
	  .fallback = "{}",
	  .sub = wait_keys,
	  .help = "waiting for receipts" },
	{ .name = "overlap",
	  .type = SCHEMA_DURATION,
	  .fallback = "10m",
	  MAY_BE_0,
	  .help = "both versions are accepted at least so long" },
	{ .name = "drain",
	  .type = SCHEMA_OBJECT,
	  .fallback = "{}",
	  .sub = drain_keys,
	  .help = "waiting until the old one is unused" },
	{ .name = "soak",
	  .type = SCHEMA_DURATION,
	  .fallback = "24h",
	  MAY_BE_0,
	  .help = "suspended so long before it is revoked" },
	{ .name = "retry", .type = SCHEMA_OBJECT, .fallback = "{}", .sub = retry_keys, .help = "temporary failures" },
	{ .name = "on_failure",
	  .type = SCHEMA_ENUM,
	  .fallback = "rollback",
	  .allowed = "rollback|hold",
	  .help = "what a failed step leads to" },
	{ 0 },
};

static const struct schema_key generate_keys[] = {
	{ .name = "length", .type = SCHEMA_INT, .fallback = "32", .min = 8, .max = 1024, .help = "characters" },
	{ .name = "alphabet",
	  .type = SCHEMA_ENUM,
	  .fallback = "alnum",
	  .allowed = "alnum|hex|base64url|ascii",
	  .help = "characters to choose from; ascii leaves out what shells and templates read" },
	{ 0 },
};

static const struct schema_key adopt_keys[] = {
	{ .name = "username",
	  .type = SCHEMA_STRING,
	  REQUIRED,
	  .help = "the credential that is in use before the first rotation" },
	{ .name = "then",
	  .type = SCHEMA_ENUM,
	  .fallback = "disable",
	  .allowed = "disable",
	  .help = "what happens to it" },
	{ 0 },
};

const struct schema_key load_tables_secret[] = {
	{ .name = "type", .type = SCHEMA_STRING, .help = "what it is; told by the authority's provider" },
	{ .name = "owner", .type = SCHEMA_STRING, .help = "who answers for it; the login user" },
	{ .name = "risk",
	  .type = SCHEMA_ENUM,
	  .fallback = "medium",
	  .allowed = "low|medium|high|critical",
	  .help = "what a leak would cost" },
	{ .name = "labels", .type = SCHEMA_STRING_MAP, .fallback = "{}", .help = "for selectors" },
	{ .name = "accept_outage", .type = SCHEMA_BOOL, .fallback = "false", .help = "announced outages are accepted" },
	{ .name = "keep",
	  .type = SCHEMA_ENUM,
	  .fallback = "needed",
	  .allowed = "needed|none",
	  .help = "whether rotor keeps the current value" },
	{ .name = "generate",
	  .type = SCHEMA_OBJECT,
	  .fallback = "{}",
	  .sub = generate_keys,
	  .help = "how a value is made" },
	{ .name = "adopt", .type = SCHEMA_OBJECT, .sub = adopt_keys, .help = "a credential from before rotor" },
	{ 0 },
};

const struct schema_key load_tables_link[] = {
	{ .name = "policy", .type = SCHEMA_OBJECT, .help = "a policy's name, or a policy" },
	{ .name = "authority", .type = SCHEMA_OBJECT, REQUIRED, .help = "what accepts the credential" },
	{ .name = "stores", .type = SCHEMA_OBJECTS, .help = "where consumers fetch it" },
	{ .name = "consumers", .type = SCHEMA_OBJECTS, .help = "who uses it" },
	{ 0 },
};

#define TARGET_KEYS                                                                                                    \
	{ .name = "name", .type = SCHEMA_STRING, .help = "what it is called; its address where there is none" },       \
		{ .name = "provider", .type = SCHEMA_STRING, .help = "kind of provider" },                             \
	{                                                                                                              \
		.name = "auth", .type = SCHEMA_AUTH, .help = "the credential that rotor itself needs there"            \
	}

const struct schema_key load_tables_target[] = { TARGET_KEYS, { 0 } };

static const struct schema_key authority_keys[] = {
	{ .name = "application_name", .type = SCHEMA_STRING, .help = "sessions that count, by name" },
	{ .name = "client", .type = SCHEMA_STRING, .help = "sessions that count, by address" },
	{ .name = "min",
	  .type = SCHEMA_INT,
	  .fallback = "1",
	  .max = 1000000,
	  .help = "sessions of the new version at least" },
	{ .name = "none_old",
	  .type = SCHEMA_BOOL,
	  .fallback = "false",
	  .help = "no session of the old one may be left" },
	{ 0 },
};

static const struct schema_key confirm_keys[] = {
	{ .name = "command", .type = SCHEMA_ARGV, .help = "0 is a receipt, anything else is none yet" },
	{ .name = "authority",
	  .type = SCHEMA_OBJECT,
	  .sub = authority_keys,
	  .help = "the authority sees sessions of the new version" },
	{ .name = "manual", .type = SCHEMA_BOOL, .help = "a person says so" },
	{ 0 },
};

static const struct schema_key health_keys[] = {
	{ .name = "command", .type = SCHEMA_ARGV, .help = "0 is healthy" },
	{ 0 },
};

const struct schema_key load_tables_consumer[] = {
	TARGET_KEYS,
	{ .name = "cache_ttl",
	  .type = SCHEMA_DURATION,
	  .fallback = "0s",
	  MAY_BE_0,
	  .max = YEAR,
	  .help = "how long it may keep what it fetched" },
	{ .name = "confirm",
	  .type = SCHEMA_OBJECTS,
	  .fallback = "[]",
	  ONE_KEY_EACH,
	  .sub = confirm_keys,
	  .help = "receipts, all of them; by the authority's sessions where it sees them, else manual" },
	{ .name = "health",
	  .type = SCHEMA_OBJECTS,
	  .fallback = "[]",
	  ONE_KEY_EACH,
	  .sub = health_keys,
	  .help = "watched while a version is new" },
	{ 0 },
};
