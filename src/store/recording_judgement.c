/* SPDX-License-Identifier: MIT */
/* recording_judgement.c: what the recorder judged, with its findings. */
#include <errno.h>
#include <string.h>

#include "store/recording_priv.h"

static bool find_verdict(const char *name, enum vmat_verdict *ret)
{
	for (int i = 0; i < VMAT_VERDICT_COUNT; i++) {
		if (strcmp(vmat_verdict_name((enum vmat_verdict)i), name) != 0)
			continue;
		*ret = (enum vmat_verdict)i;
		return true;
	}
	return false;
}

static bool find_severity(const char *name, enum vmat_severity *ret)
{
	for (int i = VMAT_SEVERITY_INFO; i <= VMAT_SEVERITY_BAD; i++) {
		if (strcmp(vmat_severity_name((enum vmat_severity)i), name) != 0)
			continue;
		*ret = (enum vmat_severity)i;
		return true;
	}
	return false;
}

static int read_findings(struct vmat_recording *recording, uint64_t number,
			 struct vmat_judgement *ret, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement =
		recording_query(recording,
				"SELECT id, severity, weight, title, evidence, advice FROM finding "
				"WHERE process = ?1 ORDER BY place LIMIT 32",
				err);
	int r;

	if (!statement)
		return err->code;
	sqlite3_bind_int64(statement, 1, (int64_t)number);
	while ((r = recording_step(recording, statement, err)) > 0) {
		struct store_row row = { .statement = statement };
		struct vmat_finding *finding = &ret->findings[ret->findings_count];

		if (ret->findings_count++ == VMAT_FINDINGS_MAX)
			return recording_lies(recording, "it holds too many findings", err);
		finding->id = recording_string(recording, store_text(&row, 0));
		finding->weight = store_real(&row, 2);
		store_text_copy(&row, 3, finding->title, sizeof(finding->title));
		store_text_copy(&row, 4, finding->evidence, sizeof(finding->evidence));
		store_text_copy(&row, 5, finding->advice, sizeof(finding->advice));
		if (!find_severity(store_text(&row, 1), &finding->severity) || row.is_bad)
			return recording_lies(recording, "a finding is not described as one", err);
		if (!finding->id)
			return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

int vmat_recording_judgement(struct vmat_recording *recording, size_t index,
			     struct vmat_judgement *ret, struct vmat_error *err)
{
	struct vmat_error own = { .code = 0 };
	recording_autofinalize sqlite3_stmt *statement = NULL;
	struct store_row row;
	int r;

	err = err ? err : &own;
	if (index >= recording->processes_count)
		return vmat_error_set(err, -EINVAL, "the recording has no process %zu", index);
	recording_begin(recording);
	statement = recording_query(recording,
				    "SELECT verdict, confidence, growth_bytes_per_s, "
				    "floor_bytes_per_s, span_ns, sure_after_ns, sentence "
				    "FROM judgement WHERE process = ?1",
				    err);
	if (!statement)
		return err->code;
	sqlite3_bind_int64(statement, 1, (int64_t)recording->spans[index].number);
	r = recording_step(recording, statement, err);
	if (r <= 0)
		return r < 0 ? r : vmat_error_set(err, -ENODATA, "nothing was judged of it");
	*ret = (struct vmat_judgement){ .findings_count = 0 };
	row = (struct store_row){ .statement = statement };
	ret->confidence = store_real(&row, 1);
	ret->growth_bytes_per_s = store_real(&row, 2);
	ret->floor_bytes_per_s = store_real(&row, 3);
	ret->span_ns = store_number_or_null(&row, 4);
	ret->sure_after_ns = store_number_or_null(&row, 5);
	store_text_copy(&row, 6, ret->sentence, sizeof(ret->sentence));
	if (!find_verdict(store_text(&row, 0), &ret->verdict) || row.is_bad)
		return recording_lies(recording, "a judgement is not described as one", err);
	return read_findings(recording, recording->spans[index].number, ret, err);
}
