/* SPDX-License-Identifier: MIT */
/* How long a command may stop the target: see limit.h. */
#include "limit.h"

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
