/* SPDX-License-Identifier: MIT */
/*
 * vmatlas doctor: which kernel features and rights are there, and what is lost without them.
 */
#include <vmatlas/feature.h>

#include "output.h"
#include "report.h"
#include "rights.h"

#define SCHEMA     "vmatlas/doctor/1"
#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum column {
	NAME,
	STATE,
	SINCE,
	EVIDENCE,
	NEEDS,
	LOST,
	MEANING,
};

static const struct vmat_column columns[] = {
	[NAME] = { "FEATURE", "feature", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "its name, as in VMAT_WITHOUT", "vmatlas" },
	[STATE] = { "STATE", "state", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "yes, no, refused (there, but not for you) or forced off (VMAT_WITHOUT)",
		    "a probe of what it does", .is_tinted = true },
	[SINCE] = { "SINCE", "since", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "the kernel that first has it", "kernel sources", .ample = 2 },
	[EVIDENCE] = { "EVIDENCE", "evidence", VMAT_TYPE_STRING, EVERYWHERE, 0,
		       "how its state was found out", "a probe of what it does", .ample = 3 },
	[NEEDS] = { "NEEDS", "needs", VMAT_TYPE_STRING, VMAT_SHOW_WIDE | VMAT_SHOW_JSON, 0,
		    "the right or setting that it needs", "kernel sources", .ample = 3 },
	[LOST] = { "LOST", "lost", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		   "what is lost without it, and what is done instead", "vmatlas", .ample = 3 },
	[MEANING] = { "MEANING", "meaning", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "what it is",
		      "vmatlas", .ample = 3 },
};

static const char *state_text(enum vmat_feature_state state)
{
	static const char *const texts[] = {
		[VMAT_FEATURE_YES] = "yes",
		[VMAT_FEATURE_NO] = "no",
		[VMAT_FEATURE_NOT_PERMITTED] = "refused",
		[VMAT_FEATURE_FORCED_OFF] = "forced off",
	};

	return texts[state];
}

static void cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	enum vmat_feature feature = (enum vmat_feature)row;
	const struct vmat_feature_info *info = vmat_feature_info(feature);

	(void)model;
	switch ((enum column)column) {
	case NAME:
		ret->text = info->name;
		break;
	case STATE:
		ret->text = state_text(vmat_feature_state(feature));
		break;
	case SINCE:
		ret->text = info->since;
		break;
	case EVIDENCE:
		ret->text = vmat_feature_evidence(feature);
		break;
	case NEEDS:
		ret->text = info->needs;
		break;
	case LOST:
		ret->text = info->lost;
		break;
	case MEANING:
		ret->text = info->sentence;
		break;
	}
}

static enum vmat_tint tint(const void *model, size_t row)
{
	(void)model;
	return vmat_feature_has((enum vmat_feature)row) ? VMAT_TINT_GOOD : VMAT_TINT_BAD;
}

static const struct vmat_list features_list = {
	.name = "doctor.features",
	.key = "features",
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(columns[0]),
	.cell = cell,
	.tint = tint,
	.meaning = "a feature of the kernel that vmatlas makes use of",
};

/* What is missing, in whole sentences: they would not fit a table. */
static void say_lost(void)
{
	bool has_any = false;

	for (int i = 0; i < VMAT_FEATURE_COUNT; i++) {
		enum vmat_feature feature = (enum vmat_feature)i;
		const struct vmat_feature_info *info = vmat_feature_info(feature);

		if (vmat_feature_has(feature))
			continue;
		if (!has_any)
			cli_line("Without the features that are missing:");
		has_any = true;
		cli_line("  %s: %s", info->name, info->lost);
		if (info->needs[0] && vmat_feature_state(feature) == VMAT_FEATURE_NOT_PERMITTED)
			cli_line("    needs: %s", info->needs);
	}
	if (has_any)
		cli_line("%s", "");
}

static int write_json(const struct cli_output *output, const struct vmat_rows *features,
		      const struct vmat_rows *rights)
{
	struct vmat_json *json;
	int r = vmat_json_new(&json, stdout), finished;

	if (r < 0)
		return r;
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", SCHEMA);
	vmat_json_string(json, "version", vmat_version());
	r = cli_output_json(output, json, features);
	cli_json_further(json, rights, 0);
	vmat_json_end(json);
	finished = vmat_json_finish(json);
	return r < 0 ? r : finished;
}

static int doctor_run(const struct cli_args *args)
{
	struct cli_output output;
	struct cli_rights rights;
	struct vmat_rows features = { .list = &features_list, .count = VMAT_FEATURE_COUNT };
	struct vmat_rows rights_rows = { .list = &cli_list_rights, .model = &rights };
	int code = cli_output_init(&output, args, &features_list), r;

	if (code)
		return code;
	cli_rights_read(&rights);
	rights_rows.count = rights.count;
	if (output.format == CLI_JSON)
		return cli_written(write_json(&output, &features, &rights_rows), CLI_OK);
	r = cli_output_rows(&output, &features);
	if (r >= 0 && cli_output_has_heads(&output)) {
		putchar('\n');
		say_lost();
		r = cli_output_further(&output, &rights_rows, 0);
	}
	return cli_written(r, CLI_OK);
}

static const struct cli_example examples[] = {
	{ "", "what this kernel and this user can do" },
	{ "-J", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Shows which kernel features and rights there are, how each was found out, and what is "
	"lost without "
	"it. Features are probed by what they do, not by the version of the kernel.",
	NULL,
};

static const struct vmat_list *const lists[] = { &features_list, &cli_list_rights, NULL };

const struct cli_command cli_doctor_command = {
	.name = "doctor",
	.operands = "",
	.summary = "which kernel features and rights are there, and what is lost without",
	.text = text,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = doctor_run,
};
