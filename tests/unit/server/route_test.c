/* SPDX-License-Identifier: MIT */
/* Requests to answers: which page, which form of it, and what is refused. */
#include "server/route.h"

#include "cmocka_all.h"

#define OPENMETRICS "application/openmetrics-text"

static const struct vmat_page pages[] = {
	{ "/metrics", "" },
	{ "/metrics", OPENMETRICS },
};

static void is_form(const char *accept, size_t form)
{
	struct vmat_route route = vmat_route(pages, 2, "GET", "/metrics", accept);

	assert_int_equal(route.status, 200);
	if (route.page != form)
		fail_msg("Accept: %s gives form %zu", accept ? accept : "(none)", route.page);
}

static void test_forms(void **state)
{
	(void)state;
	is_form(NULL, 0);
	is_form("", 0);
	is_form("*/*", 0);
	is_form("text/plain", 0);
	is_form("text/html,application/xhtml+xml,*/*;q=0.8", 0);
	is_form(OPENMETRICS, 1);
	is_form("Application/OpenMetrics-Text", 1);
	/* Prometheus 2.42 */
	is_form("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
		"text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		1);
	is_form("application/openmetrics-text;q=0.3,text/plain;q=0.5", 0);
	is_form("application/openmetrics-text;q=0", 0);
	is_form("application/openmetrics-text;q=0,*/*", 0);
	is_form("image/png", 0);
	is_form(",,;;q=;q", 0);
}

static void test_quality(void **state)
{
	(void)state;
	assert_int_equal(vmat_accept_quality("text/plain;q=0.25", "text/plain"), 250);
	assert_int_equal(vmat_accept_quality("text/plain ; q=0.125", "text/plain"), 125);
	assert_int_equal(vmat_accept_quality("text/*;q=0.5, */*;q=0.1", "text/plain"), 500);
	assert_int_equal(vmat_accept_quality("text/*;q=0.5, text/plain;q=0.2", "text/plain"), 200);
	assert_int_equal(vmat_accept_quality("a/b", "text/plain"), 0);
	assert_int_equal(vmat_accept_quality("text/plain;q=7", "text/plain"), 1000);
	assert_int_equal(vmat_accept_quality("text/plain;q=0.99999999999", "text/plain"), 999);
}

static void test_refusals(void **state)
{
	(void)state;
	assert_int_equal(vmat_route(pages, 2, "GET", "/", NULL).status, 404);
	assert_int_equal(vmat_route(pages, 2, "GET", "/metrics/", NULL).status, 404);
	assert_int_equal(vmat_route(pages, 2, "POST", "/x", NULL).status, 404);
	assert_int_equal(vmat_route(pages, 2, "POST", "/metrics", NULL).status, 405);
	assert_int_equal(vmat_route(pages, 2, "get", "/metrics", NULL).status, 405);
	assert_int_equal(vmat_route(pages, 2, "HEAD", "/metrics", NULL).status, 200);
	assert_int_equal(vmat_route(pages, 0, "GET", "/metrics", NULL).status, 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_quality),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
