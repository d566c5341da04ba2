/* SPDX-License-Identifier: MIT */
/*
 * elf.c: headers, segments and symbols of an ELF file, out of bytes that a function gives.
 *
 * Why not libelf: it wants a file or an image in one piece and trusts more of it than a stranger's
 * file deserves (elfutils' SECURITY says so itself), and here the bytes may come page by page out of
 * another process. What is needed is a few dozen lines over bounded reads, and they are fuzzed. The
 * DWARF of strangers is parsed by libdw, in a child without rights.
 *
 * Files of 32 and 64 bits are turned into the 64-bit structures at the first touch, so that all that
 * follows knows one shape. Every count out of the file has a limit, and every sum is of values below
 * 2^63 or is checked. Facts: elf(5); https://flapenguin.me/elf-dt-gnu-hash for DT_GNU_HASH.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/elf.h>

enum {
	CHUNK_SIZE = 32 * 1024,   /* of what is read at once */
	HEADERS_MAX = 65536 / 56, /* the kernel's own limit: program headers of 64 KiB */
	DYNAMIC_MAX = 4096,       /* entries; libraries have about 30 */
	CHAIN_MAX = 4096,         /* symbols of one hash bucket; libraries have about 3 */
	NOTES_MAX = 4096,         /* bytes of a note segment that are looked at */
	SECTIONS_MAX = 0xff00,    /* SHN_LORESERVE: more need extended numbering */
	STRINGS_MAX = 64 << 20,   /* bytes of the full symbol table's strings */
	SYMBOLS_MAX = 16 << 20,   /* entries of the full symbol table */
	NAME_MAX_SIZE = 256,      /* of a name that is looked up, with its NUL */
};

/* No file, process or size comes near; below it the sum of two does not wrap. */
#define ADDR_LIMIT (UINT64_C(1) << 62)

/* Where bytes come from, and where complaints go. */
struct reader {
	vmat_elf_read_fn *read;
	void *context;
	struct vmat_error *err;
};

static int malformed(const struct reader *reader, const char *what)
{
	return vmat_error_set(reader->err, -ENOEXEC, "The ELF file is malformed: %s.", what);
}

/* Reads, and says what could not be read. */
static int fetch(const struct reader *reader, uint64_t offset, void *buffer, size_t size,
		 const char *what)
{
	int ret = offset > ADDR_LIMIT ? -ENOEXEC
				      : reader->read(reader->context, offset, buffer, size);

	if (ret < 0)
		return vmat_error_set(reader->err, ret, "Cannot read the %s of the ELF file.",
				      what);
	return 0;
}

int vmat_elf_read_fd(void *context, uint64_t offset, void *buffer, size_t size)
{
	int fd = *(const int *)context;
	char *bytes = buffer;

	while (size) {
		ssize_t got = offset < INT64_MAX ? pread(fd, bytes, size, (off_t)offset) : 0;

		if (got <= 0)
			return got ? -EIO : -ENOEXEC;
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

static Elf64_Phdr phdr_of_32(const Elf32_Phdr *phdr)
{
	return (Elf64_Phdr){
		.p_type = phdr->p_type,
		.p_flags = phdr->p_flags,
		.p_offset = phdr->p_offset,
		.p_vaddr = phdr->p_vaddr,
		.p_filesz = phdr->p_filesz,
		.p_memsz = phdr->p_memsz,
		.p_align = phdr->p_align,
	};
}

static Elf64_Sym sym_of_32(const Elf32_Sym *sym)
{
	return (Elf64_Sym){
		.st_name = sym->st_name,
		.st_info = sym->st_info,
		.st_other = sym->st_other,
		.st_shndx = sym->st_shndx,
		.st_value = sym->st_value,
		.st_size = sym->st_size,
	};
}

static int read_ehdr_32(const struct reader *reader, Elf64_Ehdr *ret)
{
	Elf32_Ehdr narrow;
	int err = fetch(reader, 0, &narrow, sizeof(narrow), "header");

	if (err)
		return err;
	*ret = (Elf64_Ehdr){
		.e_type = narrow.e_type,
		.e_machine = narrow.e_machine,
		.e_phoff = narrow.e_phoff,
		.e_shoff = narrow.e_shoff,
		.e_phentsize = narrow.e_phentsize,
		.e_phnum = narrow.e_phnum,
		.e_shentsize = narrow.e_shentsize,
		.e_shnum = narrow.e_shnum,
	};
	return 0;
}

/* The file header in its 64-bit shape, once it is sure that this reader knows the file's kind. */
static int read_ehdr(const struct reader *reader, Elf64_Ehdr *ret, unsigned *ret_word_size)
{
	unsigned char ident[EI_NIDENT];
	int err = fetch(reader, 0, ident, sizeof(ident), "first bytes");

	if (err)
		return err;
	if (memcmp(ident, ELFMAG, SELFMAG) != 0)
		return vmat_error_set(reader->err, -ENOEXEC, "This is no ELF file.");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return vmat_error_set(reader->err, -ENOEXEC,
				      "Only little-endian ELF files can be read.");
	if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
		return malformed(reader, "it is neither of 32 nor of 64 bits");
	*ret_word_size = ident[EI_CLASS] == ELFCLASS64 ? 8 : 4;
	if (*ret_word_size == 4)
		return read_ehdr_32(reader, ret);
	return fetch(reader, 0, ret, sizeof(*ret), "header");
}

static int read_phdr(const struct reader *reader, const Elf64_Ehdr *ehdr, unsigned word_size,
		     size_t i, Elf64_Phdr *ret)
{
	uint64_t offset = ehdr->e_phoff + i * ehdr->e_phentsize;
	Elf32_Phdr narrow;
	int err;

	if (word_size == 8)
		return fetch(reader, offset, ret, sizeof(*ret), "program headers");
	err = fetch(reader, offset, &narrow, sizeof(narrow), "program headers");
	if (!err)
		*ret = phdr_of_32(&narrow);
	return err;
}

static int add_segment(const struct reader *reader, struct vmat_elf *elf,
		       enum vmat_segment_type type, const Elf64_Phdr *phdr)
{
	if (elf->segments_count == VMAT_ELF_SEGMENTS_MAX)
		return malformed(reader, "it has more segments than any real file");
	if (type == VMAT_SEGMENT_LOAD) {
		uint64_t end = phdr->p_vaddr + phdr->p_memsz;

		if (phdr->p_filesz > phdr->p_memsz)
			return malformed(reader, "a segment is larger in the file than in memory");
		if (phdr->p_vaddr < elf->load_addr_min)
			elf->load_addr_min = phdr->p_vaddr;
		if (end > elf->load_addr_max)
			elf->load_addr_max = end;
	}
	elf->segments[elf->segments_count++] = (struct vmat_segment){
		.type = type,
		.prot = phdr->p_flags & (PF_X | PF_W | PF_R),
		.offset = phdr->p_offset,
		.file_size = phdr->p_filesz,
		.addr = phdr->p_vaddr,
		.mem_size = phdr->p_memsz,
		.align = phdr->p_align,
	};
	return 0;
}

/* Looks for NT_GNU_BUILD_ID. Notes that are absent or broken are no error: the id is then unknown. */
static void find_build_id(const struct reader *reader, struct vmat_elf *elf, const Elf64_Phdr *phdr)
{
	uint64_t size = phdr->p_filesz < NOTES_MAX ? phdr->p_filesz : NOTES_MAX;
	uint64_t align = phdr->p_align == 8 ? 8 : 4;
	_Alignas(8) unsigned char notes[NOTES_MAX];
	uint64_t at = 0;

	if (elf->build_id_size || reader->read(reader->context, phdr->p_offset, notes, size) < 0)
		return;
	while (size - at > sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note; /* the same in files of 32 bits */
		uint64_t name_at = at + sizeof(note), desc_at, next_at;

		memcpy(&note, notes + at, sizeof(note));
		desc_at = (name_at + note.n_namesz + align - 1) & ~(align - 1);
		next_at = (desc_at + note.n_descsz + align - 1) & ~(align - 1);
		if (desc_at + note.n_descsz > size)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    memcmp(notes + name_at, "GNU", 4) == 0 &&
		    note.n_descsz <= sizeof(elf->build_id)) {
			memcpy(elf->build_id, notes + desc_at, note.n_descsz);
			elf->build_id_size = note.n_descsz;
			return;
		}
		if (next_at > size)
			return;
		at = next_at;
	}
}

static int take_phdr(const struct reader *reader, struct vmat_elf *elf, const Elf64_Phdr *phdr)
{
	if (phdr->p_vaddr > ADDR_LIMIT || phdr->p_memsz > ADDR_LIMIT ||
	    phdr->p_offset > ADDR_LIMIT || phdr->p_filesz > ADDR_LIMIT)
		return malformed(reader, "a segment lies outside of any address space");
	switch (phdr->p_type) {
	case PT_LOAD:
		return add_segment(reader, elf, VMAT_SEGMENT_LOAD, phdr);
	case PT_GNU_RELRO:
		return add_segment(reader, elf, VMAT_SEGMENT_RELRO, phdr);
	case PT_TLS:
		return add_segment(reader, elf, VMAT_SEGMENT_TLS, phdr);
	case PT_INTERP:
		elf->has_interp = true;
		return 0;
	case PT_DYNAMIC:
		elf->has_dynamic = true;
		elf->dynamic_addr = phdr->p_vaddr;
		elf->dynamic_size = phdr->p_memsz;
		return 0;
	case PT_NOTE:
		find_build_id(reader, elf, phdr);
		return 0;
	default:
		return 0;
	}
}

int vmat_elf_offset(const struct vmat_elf *elf, uint64_t addr, uint64_t size, uint64_t *ret)
{
	for (size_t i = 0; i < elf->segments_count; i++) {
		const struct vmat_segment *segment = &elf->segments[i];

		if (segment->type == VMAT_SEGMENT_LOAD && addr >= segment->addr &&
		    addr - segment->addr <= segment->file_size &&
		    size <= segment->file_size - (addr - segment->addr)) {
			*ret = segment->offset + (addr - segment->addr);
			return 0;
		}
	}
	return -ENOENT;
}

static int fetch_at(const struct reader *reader, const struct vmat_elf *elf, uint64_t addr,
		    void *buffer, size_t size, const char *what)
{
	uint64_t offset;

	if (vmat_elf_offset(elf, addr, size, &offset) < 0)
		return vmat_error_set(reader->err, -ENOEXEC,
				      "The ELF file is malformed: its %s lies in no segment.",
				      what);
	return fetch(reader, offset, buffer, size, what);
}

/* What PT_DYNAMIC says about symbols. Addresses are those of the file; 0: not there. */
struct dynamic {
	uint64_t symbols, strings, strings_size, gnu_hash, sysv_hash;
	uint64_t soname; /* offset among the strings */
	bool has_soname;
};

/* A pointer of PT_DYNAMIC as an address of the file, whether the loader has moved it or not. */
static uint64_t unmoved(const struct vmat_elf *elf, uint64_t pointer)
{
	bool is_moved = pointer < elf->load_addr_min || pointer >= elf->load_addr_max;

	return is_moved ? pointer - elf->dynamic_bias : pointer;
}

static void take_dynamic(const struct vmat_elf *elf, struct dynamic *dynamic, int64_t tag,
			 uint64_t value)
{
	switch (tag) {
	case DT_SYMTAB:
		dynamic->symbols = unmoved(elf, value);
		break;
	case DT_STRTAB:
		dynamic->strings = unmoved(elf, value);
		break;
	case DT_STRSZ:
		dynamic->strings_size = value;
		break;
	case DT_GNU_HASH:
		dynamic->gnu_hash = unmoved(elf, value);
		break;
	case DT_HASH:
		dynamic->sysv_hash = unmoved(elf, value);
		break;
	case DT_SONAME:
		dynamic->soname = value;
		dynamic->has_soname = true;
		break;
	default:
		break;
	}
}

static int read_dynamic(const struct reader *reader, const struct vmat_elf *elf,
			struct dynamic *ret)
{
	const bool is_wide = elf->word_size == 8;
	size_t entry_size = is_wide ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn);
	uint64_t count = elf->dynamic_size / entry_size;

	*ret = (struct dynamic){ 0 };
	if (!elf->has_dynamic)
		return vmat_error_set(reader->err, -ENOENT, "The ELF file has no dynamic section.");
	for (uint64_t i = 0; i < count && i < DYNAMIC_MAX; i++) {
		Elf64_Dyn wide = { 0 };
		Elf32_Dyn narrow = { 0 };
		void *entry = is_wide ? (void *)&wide : (void *)&narrow;
		int err = fetch_at(reader, elf, elf->dynamic_addr + i * entry_size, entry,
				   entry_size, "dynamic section");

		if (err)
			return err;
		if (!is_wide) {
			wide.d_tag = narrow.d_tag;
			wide.d_un.d_val = narrow.d_un.d_val;
		}
		if (wide.d_tag == DT_NULL)
			break;
		take_dynamic(elf, ret, wide.d_tag, wide.d_un.d_val);
	}
	if (ret->strings_size > ADDR_LIMIT)
		return malformed(reader, "DT_STRSZ is too large");
	return 0;
}

/*
 * Reads a string of the dynamic string table, of at most `size` bytes with its NUL: what is longer is
 * cut. The table ends sooner for its last strings, so they are read up to its end.
 */
static int read_string(const struct reader *reader, const struct vmat_elf *elf,
		       const struct dynamic *dynamic, uint64_t at, char *buffer, size_t size)
{
	int err;

	if (at >= dynamic->strings_size)
		return malformed(reader, "a name lies outside of the string table");
	if (size - 1 > dynamic->strings_size - at)
		size = (size_t)(dynamic->strings_size - at) + 1;
	err = fetch_at(reader, elf, dynamic->strings + at, buffer, size - 1, "dynamic strings");
	if (err)
		return err;
	buffer[size - 1] = '\0';
	return 0;
}

static void read_soname(const struct reader *reader, struct vmat_elf *elf)
{
	struct reader silent = { .read = reader->read, .context = reader->context };
	struct dynamic dynamic;

	if (read_dynamic(&silent, elf, &dynamic) < 0 || !dynamic.has_soname)
		return;
	if (read_string(&silent, elf, &dynamic, dynamic.soname, elf->soname, sizeof(elf->soname)) <
	    0)
		elf->soname[0] = '\0';
}

int vmat_elf_read(struct vmat_elf *ret, vmat_elf_read_fn *read, void *context,
		  struct vmat_error *err)
{
	struct reader reader = { .read = read, .context = context, .err = err };
	struct vmat_elf elf = { .load_addr_min = UINT64_MAX };
	Elf64_Ehdr ehdr;
	int code = read_ehdr(&reader, &ehdr, &elf.word_size);

	if (code)
		return code;
	if (ehdr.e_phnum > HEADERS_MAX)
		return malformed(&reader, "it has too many program headers");
	if (ehdr.e_phnum &&
	    ehdr.e_phentsize != (elf.word_size == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return malformed(&reader, "its program headers have an unknown size");
	if (ehdr.e_phoff > ADDR_LIMIT)
		return malformed(&reader, "its program headers lie outside of the file");
	elf.machine = ehdr.e_machine;
	elf.type = ehdr.e_type;
	for (size_t i = 0; i < ehdr.e_phnum; i++) {
		Elf64_Phdr phdr;

		code = read_phdr(&reader, &ehdr, elf.word_size, i, &phdr);
		if (!code)
			code = take_phdr(&reader, &elf, &phdr);
		if (code)
			return code;
	}
	if (elf.load_addr_min == UINT64_MAX)
		elf.load_addr_min = 0;
	read_soname(&reader, &elf);
	*ret = elf;
	return 0;
}

/* One lookup among dynamic symbols: its inputs, and whether it was found. */
struct lookup {
	const struct reader *reader;
	const struct vmat_elf *elf;
	const struct dynamic *dynamic;
	const char *name;
	struct vmat_symbol *ret;
};

static struct vmat_symbol symbol_of(const Elf64_Sym *sym)
{
	return (struct vmat_symbol){
		.addr = sym->st_value,
		.size = sym->st_size,
		.section = sym->st_shndx,
		.type = ELF64_ST_TYPE(sym->st_info),
	};
}

/* Is symbol `index` the one that is looked for? 1: yes, *lookup->ret is filled; 0: no. */
static int try_symbol(const struct lookup *lookup, uint32_t index)
{
	size_t entry_size = lookup->elf->word_size == 8 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	uint64_t addr = lookup->dynamic->symbols + (uint64_t)index * entry_size;
	size_t name_size = strlen(lookup->name) + 1;
	char name[NAME_MAX_SIZE + 1];
	Elf32_Sym narrow;
	Elf64_Sym wide;
	void *entry = entry_size == sizeof(wide) ? (void *)&wide : (void *)&narrow;
	int err = fetch_at(lookup->reader, lookup->elf, addr, entry, entry_size, "dynamic symbols");

	if (err)
		return err;
	if (entry_size == sizeof(narrow))
		wide = sym_of_32(&narrow);
	if (wide.st_shndx == SHN_UNDEF)
		return 0;
	err = read_string(lookup->reader, lookup->elf, lookup->dynamic, wide.st_name, name,
			  name_size + 1);
	if (err)
		return err;
	if (strcmp(name, lookup->name) != 0)
		return 0;
	*lookup->ret = symbol_of(&wide);
	return 1;
}

static int read_u32(const struct lookup *lookup, uint64_t addr, uint32_t *ret)
{
	return fetch_at(lookup->reader, lookup->elf, addr, ret, sizeof(*ret), "symbol hash table");
}

static int lookup_gnu(const struct lookup *lookup)
{
	uint64_t table = lookup->dynamic->gnu_hash, buckets, chains;
	uint32_t head[4]; /* buckets, first symbol, words of the bloom filter, shift */
	uint32_t hash = 5381, index;
	int err;

	for (const unsigned char *p = (const unsigned char *)lookup->name; *p; p++)
		hash = hash * 33 + *p;
	err = fetch_at(lookup->reader, lookup->elf, table, head, sizeof(head), "symbol hash table");
	if (err || !head[0])
		return err;
	buckets = table + sizeof(head) + (uint64_t)head[2] * lookup->elf->word_size;
	chains = buckets + (uint64_t)head[0] * 4;
	err = read_u32(lookup, buckets + (uint64_t)(hash % head[0]) * 4, &index);
	if (err || index < head[1])
		return err;
	for (unsigned step = 0; step < CHAIN_MAX; step++, index++) {
		uint32_t link;

		err = read_u32(lookup, chains + (uint64_t)(index - head[1]) * 4, &link);
		if (!err && ((link ^ hash) & ~UINT32_C(1)) == 0)
			err = try_symbol(lookup, index);
		if (err || (link & 1))
			return err;
	}
	return malformed(lookup->reader, "a chain of its symbol hash table does not end");
}

static int lookup_sysv(const struct lookup *lookup)
{
	uint64_t table = lookup->dynamic->sysv_hash;
	uint32_t head[2]; /* buckets, chains */
	uint32_t hash = 0, index;
	int err;

	for (const unsigned char *p = (const unsigned char *)lookup->name; *p; p++) {
		hash = (hash << 4) + *p;
		hash ^= (hash >> 24) & 0xf0;
		hash &= 0x0fffffff;
	}
	err = fetch_at(lookup->reader, lookup->elf, table, head, sizeof(head), "symbol hash table");
	if (err || !head[0])
		return err;
	err = read_u32(lookup, table + 8 + (uint64_t)(hash % head[0]) * 4, &index);
	for (unsigned step = 0; !err && index != STN_UNDEF; step++) {
		if (step == CHAIN_MAX)
			return malformed(lookup->reader,
					 "a chain of its symbol hash table does not end");
		err = try_symbol(lookup, index);
		if (!err)
			err = read_u32(lookup, table + 8 + ((uint64_t)head[0] + index) * 4, &index);
	}
	return err;
}

static const struct vmat_symbol no_symbol = { .addr = VMAT_UNKNOWN(VMAT_NOT_FOUND) };

int vmat_elf_symbols(const struct vmat_elf *elf, vmat_elf_read_fn *read, void *context,
		     const char *const *names, size_t count, struct vmat_symbol *ret,
		     struct vmat_error *err)
{
	struct reader reader = { .read = read, .context = context, .err = err };
	struct vmat_symbol *found;
	struct dynamic dynamic;
	int code = read_dynamic(&reader, elf, &dynamic);

	if (code)
		return code;
	if (!dynamic.symbols || !dynamic.strings || (!dynamic.gnu_hash && !dynamic.sysv_hash))
		return vmat_error_set(err, -ENOENT, "The ELF file has no dynamic symbols.");
	found = calloc(count ? count : 1, sizeof(*found));
	if (!found)
		return vmat_error_set(err, -ENOMEM, "Out of memory.");
	for (size_t i = 0; i < count && code >= 0; i++) {
		struct lookup lookup = { &reader, elf, &dynamic, names[i], &found[i] };

		found[i] = no_symbol;
		if (strlen(names[i]) >= NAME_MAX_SIZE)
			code = vmat_error_set(err, -EINVAL, "A symbol name is too long.");
		else
			code = dynamic.gnu_hash ? lookup_gnu(&lookup) : lookup_sysv(&lookup);
	}
	if (code >= 0 && count)
		memcpy(ret, found, count * sizeof(*ret));
	free(found);
	return code < 0 ? code : 0;
}

static int read_shdr(const struct reader *reader, const Elf64_Ehdr *ehdr, unsigned word_size,
		     size_t i, Elf64_Shdr *ret)
{
	uint64_t offset = ehdr->e_shoff + i * ehdr->e_shentsize;
	Elf32_Shdr narrow;
	int err;

	if (word_size == 8)
		return fetch(reader, offset, ret, sizeof(*ret), "section headers");
	err = fetch(reader, offset, &narrow, sizeof(narrow), "section headers");
	if (!err)
		*ret = (Elf64_Shdr){ .sh_type = narrow.sh_type,
				     .sh_offset = narrow.sh_offset,
				     .sh_size = narrow.sh_size,
				     .sh_link = narrow.sh_link };
	return err;
}

/* Finds the section headers of the full symbol table and of its strings. */
static int find_symtab(const struct reader *reader, unsigned *ret_word_size,
		       Elf64_Shdr *ret_symbols, Elf64_Shdr *ret_strings)
{
	Elf64_Ehdr ehdr;
	int err = read_ehdr(reader, &ehdr, ret_word_size);

	if (err)
		return err;
	if (!ehdr.e_shoff || !ehdr.e_shnum)
		return vmat_error_set(reader->err, -ENOENT, "The ELF file has no sections.");
	if (ehdr.e_shoff > ADDR_LIMIT || ehdr.e_shnum > SECTIONS_MAX ||
	    ehdr.e_shentsize != (*ret_word_size == 8 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)))
		return malformed(reader, "its section headers make no sense");
	for (size_t i = 0; i < ehdr.e_shnum; i++) {
		err = read_shdr(reader, &ehdr, *ret_word_size, i, ret_symbols);
		if (err)
			return err;
		if (ret_symbols->sh_type != SHT_SYMTAB)
			continue;
		if (ret_symbols->sh_link >= ehdr.e_shnum)
			return malformed(reader, "its symbol table has no strings");
		return read_shdr(reader, &ehdr, *ret_word_size, ret_symbols->sh_link, ret_strings);
	}
	return vmat_error_set(reader->err, -ENOENT,
			      "The ELF file has no symbol table: it was stripped.");
}

/* What the pass over the full symbol table knows. */
struct pass {
	const struct reader *reader;
	unsigned word_size;
	char *strings; /* with a NUL behind them */
	uint64_t strings_size;
	const char *const *names;
	size_t count;
	struct vmat_symbol *ret;
};

static void pass_symbol(const struct pass *pass, const Elf64_Sym *sym)
{
	if (sym->st_shndx == SHN_UNDEF || sym->st_name >= pass->strings_size)
		return;
	for (size_t i = 0; i < pass->count; i++)
		if (!vmat_is_known(pass->ret[i].addr) &&
		    strcmp(pass->strings + sym->st_name, pass->names[i]) == 0)
			pass->ret[i] = symbol_of(sym);
}

static int pass_symbols(const struct pass *pass, const Elf64_Shdr *symbols, char *chunk)
{
	size_t entry_size = pass->word_size == 8 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	uint64_t left = symbols->sh_size / entry_size;
	uint64_t offset = symbols->sh_offset;

	while (left) {
		size_t now = CHUNK_SIZE / entry_size;
		int err;

		if (now > left)
			now = (size_t)left;
		err = fetch(pass->reader, offset, chunk, now * entry_size, "symbol table");
		if (err)
			return err;
		for (size_t i = 0; i < now; i++) {
			Elf64_Sym wide;
			Elf32_Sym narrow;

			if (entry_size == sizeof(wide)) {
				memcpy(&wide, chunk + i * entry_size, sizeof(wide));
			} else {
				memcpy(&narrow, chunk + i * entry_size, sizeof(narrow));
				wide = sym_of_32(&narrow);
			}
			pass_symbol(pass, &wide);
		}
		left -= now;
		offset += now * entry_size;
	}
	return 0;
}

static bool holds_one(const struct pass *pass, const char *bytes, size_t size)
{
	for (size_t i = 0; i < pass->count; i++)
		if (memmem(bytes, size, pass->names[i], strlen(pass->names[i]) + 1))
			return true;
	return false;
}

/*
 * Is one of the names among the strings? 1, 0 or an error. Most programs have none, and large ones have megabytes of strings:
 * nothing is kept of them but what a name that began in one piece needs in the next.
 */
static int look_for_names(const struct pass *pass, const Elf64_Shdr *strings, char *chunk)
{
	uint64_t done = 0;
	size_t kept = 0;

	while (done < strings->sh_size) {
		uint64_t left = strings->sh_size - done;
		size_t now = left < CHUNK_SIZE - kept ? (size_t)left : CHUNK_SIZE - kept;
		int err = fetch(pass->reader, strings->sh_offset + done, chunk + kept, now,
				"strings");

		if (err)
			return err;
		done += now;
		now += kept;
		if (holds_one(pass, chunk, now))
			return 1;
		kept = now < NAME_MAX_SIZE ? now : NAME_MAX_SIZE;
		memmove(chunk, chunk + now - kept, kept);
	}
	return 0;
}

/* Reads the strings in pieces, so that a size that is a lie costs no more memory than the file has. */
static int read_strings(struct pass *pass, const Elf64_Shdr *strings)
{
	uint64_t capacity = 0;

	while (pass->strings_size < strings->sh_size) {
		uint64_t now = strings->sh_size - pass->strings_size;
		int err;

		if (now > CHUNK_SIZE && now > pass->strings_size)
			now = pass->strings_size > CHUNK_SIZE ? pass->strings_size : CHUNK_SIZE;
		if (capacity < pass->strings_size + now + 1) {
			char *more = realloc(pass->strings, pass->strings_size + now + 1);

			if (!more)
				return vmat_error_set(pass->reader->err, -ENOMEM, "Out of memory.");
			pass->strings = more;
			capacity = pass->strings_size + now + 1;
		}
		err = fetch(pass->reader, strings->sh_offset + pass->strings_size,
			    pass->strings + pass->strings_size, now, "strings");
		if (err)
			return err;
		pass->strings_size += now;
		pass->strings[pass->strings_size] = '\0';
	}
	return 0;
}

int vmat_elf_symbols_full(const struct vmat_elf *elf, vmat_elf_read_fn *read, void *context,
			  const char *const *names, size_t count, struct vmat_symbol *ret,
			  struct vmat_error *err)
{
	struct reader reader = { .read = read, .context = context, .err = err };
	struct pass pass = { .reader = &reader, .names = names, .count = count };
	struct vmat_symbol *found = NULL;
	Elf64_Shdr symbols, strings;
	char *chunk = NULL;
	int code = find_symtab(&reader, &pass.word_size, &symbols, &strings);

	if (code)
		return code;
	if (pass.word_size != elf->word_size || symbols.sh_offset > ADDR_LIMIT ||
	    symbols.sh_size / sizeof(Elf32_Sym) > SYMBOLS_MAX)
		return malformed(&reader, "its symbol table makes no sense");
	if (strings.sh_size > STRINGS_MAX || strings.sh_offset > ADDR_LIMIT)
		return malformed(&reader, "its strings are too large");
	chunk = malloc(CHUNK_SIZE);
	found = calloc(count ? count : 1, sizeof(*found));
	code = chunk && found ? look_for_names(&pass, &strings, chunk)
			      : vmat_error_set(err, -ENOMEM, "Out of memory.");
	for (size_t i = 0; i < count && code >= 0; i++)
		found[i] = no_symbol;
	if (code == 1)
		code = read_strings(&pass, &strings);
	if (!code && pass.strings) {
		pass.ret = found;
		code = pass_symbols(&pass, &symbols, chunk);
	}
	if (!code && count)
		memcpy(ret, found, count * sizeof(*ret));
	free(found);
	free(chunk);
	free(pass.strings);
	return code;
}
