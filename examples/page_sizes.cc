// SPDX-License-Identifier: MIT
//
// page_sizes: how big the pages of a program's own memory are, from C++.
//
//   g++ page_sizes.cc $(pkg-config --cflags --libs libvmatlas) -o page_sizes && ./page_sizes
//
// For each kind of memory: the page size of its mapping, the size of the page that is really there, and
// whether it may be written. Preloading libvmatlas-preload.so makes the first column cost 2 ns.
#include <vmatlas/prim/pagesize.h>

#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace
{

// Anonymous memory that unmaps itself.
class Mapping {
    public:
	explicit Mapping(std::size_t size)
		: size_(size), at_(mmap(nullptr, size, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
	{
	}
	Mapping(const Mapping &) = delete;
	Mapping &operator=(const Mapping &) = delete;
	~Mapping()
	{
		if (at_ != MAP_FAILED)
			munmap(at_, size_);
	}
	void *get() const
	{
		return at_;
	}

    private:
	std::size_t size_;
	void *at_;
};

void print(const char *what, const void *addr)
{
	vmat_page_info info{};
	const ssize_t mapping = vmat_pagesize_at(addr);

	info.size = sizeof(info);
	std::printf("%-22s ", what);
	if (mapping < 0 || vmat_page_at(addr, &info) != 0) {
		std::printf("%10s\n", std::strerror(static_cast<int>(-mapping)));
		return;
	}
	std::printf("%10zd ", mapping);
	if (info.in_use > 0)
		std::printf("%10zd", info.in_use);
	else
		std::printf("%10s", info.in_use == -ENODATA ? "no page" : "unknown");
	std::printf("  %s\n", vmat_access(addr, 1, PROT_WRITE) == 0 ? "yes" : "no");
}

} // namespace

int main()
{
	constexpr std::size_t huge = std::size_t{ 2 } << 20;
	const Mapping untouched(huge), big(4 * huge);
	const std::vector<char> block(1000, 'x');
	auto *inside = static_cast<char *>(big.get());

	// The kernel puts a huge page where a whole aligned one fits, if it may and has one.
	madvise(big.get(), 4 * huge, MADV_HUGEPAGE);
	std::memset(big.get(), 1, 4 * huge);
	std::printf("%-22s %10s %10s  %s\n", "MEMORY", "MAPPING", "IN USE", "WRITE");
	print("code", reinterpret_cast<const void *>(&print));
	print("a literal", "text");
	print("a vector's block", block.data());
	print("the stack", &inside);
	print("mapped, not touched", untouched.get());
	print("huge pages advised", inside + 2 * huge);
	print("nothing", nullptr);
	return 0;
}
