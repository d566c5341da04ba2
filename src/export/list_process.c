/* SPDX-License-Identifier: MIT */
/*
 * The target itself and its counters: lists of one row, so that they too have a column table.
 */
#include "export/list_field.h"

enum process_column {
	PID,
	NAME,
	EXE,
	PPID,
	UID,
	STATE,
	THREADS,
	WORD_SIZE,
	CORE,
	WRITER,
	SIGNAL,
	SIGNAL_TID,
	FAULT_ADDR,
	MEMORY,
	HALTED,
};

static const struct vmat_column process_columns[] = {
	[PID] = { "PID", "pid", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "process id", "stat: pid" },
	[NAME] = { "NAME", "name", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "name of the process",
		   "stat: comm" },
	[EXE] = { "EXE", "exe", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "its program",
		  "/proc/PID/exe" },
	[PPID] = { "PPID", "ppid", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "its parent", "stat: ppid" },
	[UID] = { "UID", "uid", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "its user", "status: Uid" },
	[STATE] = { "STATE", "state", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "as in ps(1)",
		    "stat: state" },
	[THREADS] = { "THREADS", "threads", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		      "how many threads it has", "stat: num_threads" },
	[WORD_SIZE] = { "WORD_SIZE", "word_size", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
			"4 for a 32-bit program, else 8", "auxv" },
	[CORE] = { "CORE", "core", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		   "the core file that all of this is from; null for a process", "TARGET" },
	[WRITER] = { "WRITER", "core_writer", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		     "who wrote the core: the kernel, gdb or vmatlas", "notes of the core" },
	[SIGNAL] = { "SIGNAL", "signal", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		     "number of the signal that ended it", "NT_SIGINFO" },
	[SIGNAL_TID] = { "SIGNAL_TID", "signal_tid", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
			 "the thread that got it", "NT_PRSTATUS" },
	[FAULT_ADDR] = { "FAULT_ADDR", "fault_addr", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0,
			 "the address that could not be accessed", "NT_SIGINFO: si_addr" },
	[MEMORY] = { "MEMORY", "memory", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		     "of firmware: where its memory was read; null for a process", "--gdb, --ram" },
	[HALTED] = { "HALTED", "halted_ns", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		     "of firmware: nanoseconds that a gdb server held it", "CLOCK_MONOTONIC" },
};

/* What only a core tells. */
static void core_cell(const struct vmat_core_info *core, enum process_column column,
		      struct vmat_value *ret)
{
	ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (!core)
		return;
	if (column == CORE || column == WRITER) {
		ret->number = 0;
		ret->text = column == CORE ? core->path : core->writer;
	} else if (column == FAULT_ADDR) {
		ret->number = core->fault_addr;
	} else if (core->signal) {
		ret->number =
			column == SIGNAL ? (uint64_t)core->signal : (uint64_t)core->signal_tid;
	}
}

/* Firmware is no process. */
static bool firmware_cell(const struct vmat_firmware_info *firmware, enum process_column column,
			  struct vmat_value *ret)
{
	const bool is_of_firmware = column == MEMORY || column == HALTED;

	if (is_of_firmware && firmware) {
		ret->number = column == HALTED ? firmware->halted_ns : 0;
		ret->text = column == MEMORY ? firmware->memory : NULL;
		return true;
	}
	if (!is_of_firmware && (!firmware || (column != PID && column != PPID && column != STATE)))
		return false;
	ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	return true;
}

static void process_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_process *process = model;

	(void)row;
	if (firmware_cell(process->firmware, (enum process_column)column, ret))
		return;
	switch ((enum process_column)column) {
	case PID:
		ret->number = (uint64_t)process->pid;
		break;
	case NAME:
		ret->text = process->comm;
		break;
	case EXE:
		ret->text = process->exe;
		if (!process->exe)
			ret->number = VMAT_UNKNOWN(process->core ? VMAT_NOT_RECORDED
								 : VMAT_NOT_PERMITTED);
		break;
	case PPID:
		ret->number = (uint64_t)process->ppid;
		break;
	case UID:
		ret->number =
			process->uid == UINT32_MAX ? VMAT_UNKNOWN(VMAT_NOT_FOUND) : process->uid;
		break;
	case STATE:
		if (process->state == '?') {
			ret->number = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
			break;
		}
		ret->room[0] = process->state;
		ret->room[1] = '\0';
		ret->text = ret->room;
		break;
	case THREADS:
		ret->number = process->threads;
		break;
	case WORD_SIZE:
		ret->number =
			process->word_size ? process->word_size : VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
		break;
	default:
		core_cell(process->core, (enum process_column)column, ret);
	}
}

const struct vmat_list vmat_list_process = {
	.name = "target",
	.key = "target",
	.columns = process_columns,
	.columns_count = VMAT_COLUMNS_COUNT(process_columns),
	.cell = process_cell,
	.meaning = "the process that was asked for",
};

/* In the order of `fields` below. */
static const struct vmat_column columns[] = {
	{ "SIZE", "size", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "all of the address space in use",
	  "status: VmSize" },
	{ "PEAK", "peak", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "the most it has ever been",
	  "status: VmPeak" },
	{ "RSS", "rss", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
	  "resident now, by the kernel's counters: they lag behind by up to 64 pages a thread",
	  "status: VmRSS" },
	{ "RSS_PEAK", "rss_peak", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "resident at most",
	  "status: VmHWM" },
	{ "RSS_ANON", "rss_anon", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "resident and anonymous",
	  "status: RssAnon" },
	{ "RSS_FILE", "rss_file", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "resident pages of files",
	  "status: RssFile" },
	{ "RSS_SHMEM", "rss_shmem", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
	  "resident pages of shared memory", "status: RssShmem" },
	{ "SWAP", "swap", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "in swap", "status: VmSwap" },
	{ "PAGE_TABLES", "page_tables", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
	  "memory that its page tables take", "status: VmPTE" },
	{ "LOCKED", "locked", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "locked into memory",
	  "status: VmLck" },
	{ "PINNED", "pinned", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "pinned for devices",
	  "status: VmPin" },
	{ "HUGETLB", "hugetlb", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "in hugetlb pages, not in RSS",
	  "status: HugetlbPages" },
	{ "DATA", "data", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "private and writable address space",
	  "status: VmData" },
	{ "THREADS", "threads", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "threads", "status: Threads" },
	{ "FAULTS_MINOR", "faults_minor", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
	  "page faults that needed no disk", "stat: minflt" },
	{ "FAULTS_MAJOR", "faults_major", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
	  "page faults that waited for a disk", "stat: majflt" },
	{ "REGIONS", "regions", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "regions in use", "maps" },
	{ "REGIONS_MAX", "regions_max", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
	  "regions that a process may have", "/proc/sys/vm/max_map_count" },
};

static const uint16_t fields[] = {
	offsetof(struct vmat_counters, size),
	offsetof(struct vmat_counters, peak),
	offsetof(struct vmat_counters, rss),
	offsetof(struct vmat_counters, rss_peak),
	offsetof(struct vmat_counters, rss_anon),
	offsetof(struct vmat_counters, rss_file),
	offsetof(struct vmat_counters, rss_shmem),
	offsetof(struct vmat_counters, swap),
	offsetof(struct vmat_counters, page_tables),
	offsetof(struct vmat_counters, locked),
	offsetof(struct vmat_counters, pinned),
	offsetof(struct vmat_counters, hugetlb),
	offsetof(struct vmat_counters, data),
	offsetof(struct vmat_counters, threads),
	offsetof(struct vmat_counters, faults_minor),
	offsetof(struct vmat_counters, faults_major),
	0, /* REGIONS: of the view */
	offsetof(struct vmat_counters, regions_max),
};

_Static_assert(VMAT_COLUMNS_COUNT(columns) == VMAT_COLUMNS_COUNT(fields), "one field a column");

static void counters_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_counters_view *view = model;

	(void)row;
	ret->number = fields[column] || !column ? vmat_field(view->counters, fields[column])
						: view->regions;
}

const struct vmat_list vmat_list_counters = {
	.name = "map.counters",
	.key = "counters",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = counters_cell,
	.meaning = "the process's own counters",
};
