/* A consumer of a PostgreSQL password, for the demo and the fault tests.
 *   client run CONNINFO ENVFILE RECORD STATUS   logs in again and again with what ENVFILE holds at that moment, until a
 *                                               signal ends it. STATUS: "TRIED FAILED", always up to date. RECORD gets
 * a line "USER PASSWORD" for each credential that is new to the client. client try CONNINFO tries each line "USER
 * PASSWORD" of standard input once and answers accepted, refused (the server itself said no) or error. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOLD_MS 30 /* a session is worth seeing: the receipt of a consumer is its session */

struct cred {
	char user[128], password[1200];
};

enum outcome { ACCEPTED, REFUSED, FAILED };

static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void rest(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* The SQLSTATE of a refused connection is only in the message, and only when asked for before the first step. */
static PGconn *connect_to(const char *conninfo, const struct cred *c)
{
	const char *const keys[] = { "dbname", "user", "password", "application_name", "connect_timeout", NULL };
	const char *const values[] = { conninfo, c->user, c->password, "orders", "10", NULL };
	PGconn *conn = PQconnectStartParams(keys, values, 1);
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	if (!conn)
		abort();
	PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
	while (PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
		struct pollfd p = { PQsocket(conn), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0 };

		if (poll(&p, 1, 10000) == 0)
			break;
		next = PQconnectPoll(conn);
	}
	return conn;
}

static enum outcome log_in(const char *conninfo, const struct cred *c, long hold_ms)
{
	PGconn *conn = connect_to(conninfo, c);
	enum outcome outcome = ACCEPTED;

	if (PQstatus(conn) != CONNECTION_OK) {
		const char *message = PQerrorMessage(conn);

		outcome = strstr(message, "28P01") || strstr(message, "28000") ? REFUSED : FAILED;
		fprintf(stderr, "%s: %s", c->user, message);
	} else {
		PGresult *r = PQexec(conn, "select 1");

		if (PQresultStatus(r) != PGRES_TUPLES_OK) {
			outcome = FAILED;
			fprintf(stderr, "%s: query: %s", c->user, PQerrorMessage(conn));
		}
		PQclear(r);
		rest(hold_ms);
	}
	PQfinish(conn);
	return outcome;
}

/* PGUSER= and PGPASSWORD= lines, as rotor writes them. */
static bool read_env(const char *path, struct cred *ret)
{
	FILE *f = fopen(path, "re");
	char line[1300];
	int found = 0;

	if (!f)
		return false;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "PGUSER=", 7) == 0)
			found += snprintf(ret->user, sizeof ret->user, "%s", line + 7) > 0;
		else if (strncmp(line, "PGPASSWORD=", 11) == 0)
			found += snprintf(ret->password, sizeof ret->password, "%s", line + 11) > 0;
	}
	fclose(f);
	return found == 2;
}

static void run(const char *conninfo, const char *env, int record, int status)
{
	struct cred c = { 0 }, last = { 0 };
	unsigned long tried = 0, failed = 0;
	char line[1400];
	int len;

	while (!ended) {
		bool read = read_env(env, &c);

		if (read && (strcmp(c.user, last.user) != 0 || strcmp(c.password, last.password) != 0)) {
			len = snprintf(line, sizeof line, "%s %s\n", c.user, c.password);
			if (write(record, line, (size_t)len) != len)
				abort();
			last = c;
		}
		tried++;
		if (!read) {
			fprintf(stderr, "%s: no credential in it\n", env);
			failed++;
			rest(HOLD_MS);
		} else if (log_in(conninfo, &c, HOLD_MS) != ACCEPTED) {
			failed++;
		}
		len = snprintf(line, sizeof line, "%lu %lu\n", tried, failed);
		if (pwrite(status, line, (size_t)len, 0) != len)
			abort();
	}
}

static int try(const char *conninfo)
{
	static const char *const names[] = { "accepted", "refused", "error" };
	struct cred c;

	while (scanf("%127s %1199s", c.user, c.password) == 2)
		puts(names[log_in(conninfo, &c, 0)]);
	return 0;
}

int main(int argc, char **argv)
{
	const struct sigaction on_end = { .sa_handler = end };

	if (argc == 3 && strcmp(argv[1], "try") == 0)
		return try(argv[2]);
	if (argc != 6 || strcmp(argv[1], "run") != 0)
		return 2;
	int record = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int status = open(argv[5], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (record < 0 || status < 0) {
		perror("client");
		return 1;
	}
	sigaction(SIGTERM, &on_end, NULL);
	sigaction(SIGINT, &on_end, NULL);
	run(argv[2], argv[3], record, status);
	return 0;
}
