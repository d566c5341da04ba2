/* SPDX-License-Identifier: MIT */
/* How long a command may stop the target: see limit.h. */
#include "limit.h"

#include <stdio.h>

#include "number.h"
#include "report.h"

int cli_parse_max_stop(const char *text, uint64_t *ret_ns)
{
	uint64_t most_ms;

	*ret_ns = 0;
	if (!text)
		return 0;
	if (!cli_parse_size(text, &most_ms) || most_ms < 1 || most_ms > 3600000)
		return cli_usage_error("--max-stop '%.64s' is no time in milliseconds", text);
	*ret_ns = most_ms * 1000000;
	return 0;
}

void cli_expect_stop(uint64_t estimate_ns, bool is_snapshot, void *context)
{
	(void)context;
	fprintf(stderr, "vmatlas: %s, which stops it for about %.1f ms\n",
		is_snapshot ? "forking the process" : "reading the process",
		(double)estimate_ns / 1e6);
}

void cli_head_stop(const struct vmat_heap *heap)
{
	if (heap->is_approximate) {
		cli_line("read while the process ran: approximate");
		return;
	}
	if (!vmat_is_known(heap->stopped_ns))
		return;
	cli_line("the process stood still for %.1f ms (expected: %.1f)%s",
		 (double)heap->stopped_ns / 1e6, (double)heap->stop_estimate_ns / 1e6,
		 heap->is_snapshot ? ", and a copy of it was read" : "");
	if (heap->no_snapshot_why[0])
		cli_line("no copy: %s", heap->no_snapshot_why);
}

void cli_json_stop(struct vmat_json *json, const struct vmat_heap *heap)
{
	vmat_json_number(json, "stopped_ns", heap->stopped_ns);
	vmat_json_number(json, "stop_estimate_ns", heap->stop_estimate_ns);
	vmat_json_bool(json, "snapshot", heap->is_snapshot);
	vmat_json_string(json, "no_snapshot_why",
			 heap->no_snapshot_why[0] ? heap->no_snapshot_why : NULL);
}
