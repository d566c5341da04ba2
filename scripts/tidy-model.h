/*
 * What clang-tidy's analyzer cannot see, as it reads one file at a time: vmat_error_set() returns its code, and that is below 0.
 * Without this, each `return vmat_error_set(...)` of a callee looks like a success that left its results unset.
 *
 * Included before each file by scripts/lint, and by nothing else.
 */
#include <vmatlas/base.h>

static inline int vmat_model_failed(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}

#define vmat_error_set(err, code, ...) \
	((void)vmat_error_set(err, code, __VA_ARGS__), vmat_model_failed(code))
