/* SPDX-License-Identifier: MIT */
/*
 * leak_classes: a program that loses objects of C++ classes, and says of each line of JSON how many of which.
 *
 * Compiled by tests/live/leak_types.py, with and without symbols and run-time type information. Kept are objects that
 * are referred to by their second base only.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <unistd.h>

namespace shop
{
struct Item {
	virtual ~Item()
	{
	}

	virtual int price()
	{
		return 1;
	}

	long fill[4] = { 1, 2, 3, 4 };
};

struct Named {
	virtual ~Named()
	{
	}

	virtual const char *name()
	{
		return "x";
	}

	long more[3] = { 7, 8, 9 };
};

/* A second base: its part lies within the object. */
struct Book : Item, Named {
	int price() override
	{
		return 2;
	}

	const char *name() override
	{
		return "book";
	}

	long last = 5;
};

template <class T> struct Box : Item {
	T value[6] = {};
};
} // namespace shop

namespace
{
struct Hidden : shop::Item {
	long hidden[8] = {};
};
} // namespace

/* Abstract: its own table is of no object; its heir's is. */
struct Shape {
	virtual ~Shape()
	{
	}

	virtual double area() = 0;
};

struct Circle : Shape {
	double area() override
	{
		return r;
	}

	double r = 3;
	long more[10] = {};
};

static volatile uintptr_t sink;
shop::Named *volatile kept[50];

/* How the pointers are forgotten: xored. */
template <class T> static void lose(T *object)
{
	sink = sink ^ (uintptr_t)object;
}

static __attribute__((noinline)) void make()
{
	for (int i = 0; i < 30; i++) {
		lose(new shop::Item);
		lose(new shop::Book);
		lose(new shop::Box<double>);
		lose(new Hidden);
		lose(new Circle);
		lose(new std::runtime_error("lost"));
		lose(new Circle[3]);
		kept[i] = new shop::Book;
	}
	for (int i = 0; i < 20; i++) {
		char *text = (char *)malloc(200);
		strcpy(text, "a lost text\x1b[31m");
		lose(text);
		lose((char *)calloc(1, 300));
		uint64_t *random = (uint64_t *)malloc(400);
		for (int k = 0; k < 50; k++)
			random[k] = 0x123456789abcdef1ull * (uint64_t)(k + 1) | 1ull << 63;
		lose(random);
	}
}

static __attribute__((noinline)) void clobber()
{
	volatile char room[65536];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (char)i;
}

int main()
{
	make();
	clobber();
	printf("{\"pid\": %d, \"types\": {"
	       "\"shop::Item\": [30, %zu], \"shop::Book\": [30, %zu], \"shop::Box<double>\": [30, %zu], "
	       "\"(anonymous namespace)::Hidden\": [30, %zu], \"Circle\": [30, %zu], \"Circle[]\": [30, %zu], "
	       "\"std::runtime_error\": [30, %zu], \"text\": [20, 200], \"zeroes\": [20, 300], \"data\": [20, 400]}}\n",
	       (int)getpid(), sizeof(shop::Item), sizeof(shop::Book), sizeof(shop::Box<double>),
	       sizeof(Hidden), sizeof(Circle), 3 * sizeof(Circle) + 8, sizeof(std::runtime_error));
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
