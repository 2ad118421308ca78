/* Prints the JSON Schema of declarations, for editors: made from the tables that check them. Run at build time. */
#include <stdio.h>

#include "core/json.h"
#include "core/load.h"
#include "providers/provider.h"

int main(void)
{
	json_setup();
	provider_register_all();
	AUTO_JSON *schema = load_schema();
	return json_dumpf(schema, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? 0 : 1;
}
