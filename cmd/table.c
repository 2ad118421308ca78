#include "cmd/cmd.h"

extern const struct cmd cmd_init, cmd_inventory_apply, cmd_inventory_validate, cmd_inventory_list, cmd_inventory_show,
	cmd_inventory_import, cmd_inventory_forget, cmd_rotate, cmd_status, cmd_push, cmd_verify, cmd_revoke,
	cmd_provider_list, cmd_provider_show, cmd_home_adopt, cmd_audit_log, cmd_audit_verify, cmd_audit_checkpoint,
	cmd_audit_export;

const struct cmd *const cmd_all[] = {
	&cmd_init,
	&cmd_inventory_apply,
	&cmd_inventory_validate,
	&cmd_inventory_list,
	&cmd_inventory_show,
	&cmd_inventory_import,
	&cmd_inventory_forget,
	&cmd_rotate,
	&cmd_status,
	&cmd_push,
	&cmd_verify,
	&cmd_revoke,
	&cmd_provider_list,
	&cmd_provider_show,
	&cmd_audit_log,
	&cmd_audit_verify,
	&cmd_audit_checkpoint,
	&cmd_audit_export,
	&cmd_home_adopt,
	NULL,
};
