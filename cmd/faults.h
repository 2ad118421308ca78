/* How faults in declarations are told: one per line on standard error. */
#ifndef CMD_FAULTS_H
#define CMD_FAULTS_H

#include "core/load.h"
#include "core/print.h"

/* With --json one error document that also has "faults" and "more" (how many are not shown), and `e` is emptied: there
 * is nothing left for the dispatcher to say. Without faults it does nothing. */
void cmd_faults_tell(const struct print *, const struct load *, struct err *);

#endif
