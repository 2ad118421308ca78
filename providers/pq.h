/* libpq, opened when it is first needed: rotor serves people who have no PostgreSQL, starts fast, and says which
 * package is missing. Types come from <libpq-fe.h>; every function is called through the one table. */
#ifndef PROVIDERS_PQ_H
#define PROVIDERS_PQ_H

#include <libpq-fe.h>

#include "core/err.h"

/* clang-format off */
#define PQ_FUNCTIONS(F) \
	F(PQlibVersion) F(PQconnectStartParams) F(PQconnectPoll) F(PQfinish) F(PQstatus) F(PQsocket) \
	F(PQerrorMessage) F(PQsetErrorVerbosity) F(PQsetNoticeReceiver) F(PQconnectionNeedsPassword) \
	F(PQconnectionUsedPassword) F(PQserverVersion) F(PQencryptPasswordConn) F(PQfreemem) \
	F(PQescapeLiteral) F(PQescapeIdentifier) F(PQsendQuery) F(PQsendQueryParams) F(PQsetSingleRowMode) \
	F(PQconsumeInput) F(PQisBusy) F(PQgetResult) F(PQresultStatus) F(PQresultErrorField) F(PQcmdStatus) \
	F(PQntuples) F(PQnfields) F(PQgetvalue) F(PQgetisnull) F(PQclear)
/* clang-format on */

#define PQ_MEMBER(name) __typeof__(&name) name;
struct pq {
	PQ_FUNCTIONS(PQ_MEMBER)
};
#undef PQ_MEMBER

/* The table, kept for the process's life; NULL and ERR_FAILED naming the package when the library is not there. */
const struct pq *pq_load(struct err *) MUST_CHECK;

#endif
