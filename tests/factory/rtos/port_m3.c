/* SPDX-License-Identifier: MIT */
/*
 * port_m3.c: the least that a Cortex-M3 needs to run C, on QEMU's lm3s6965evb: vectors, its first UART, and a clock that
 * ticks for ever. Facts: LM3S6965 data sheet (UART0 at 0x4000c000), ARMv7-M reference manual (SysTick).
 */
#include "shape.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART_DATA         REGISTER(0x4000c000)
#define UART_FLAGS        REGISTER(0x4000c018)
#define SYSTEM_CLOCK      REGISTER(0x400fe060)
#define SYSTICK_CONTROL   REGISTER(0xe000e010)
#define SYSTICK_RELOAD    REGISTER(0xe000e014)

/* As it is after a reset; only when it is written does QEMU give the processor, and so SysTick, a clock. */
#define SYSTEM_CLOCK_RESET 0x078e3ad1

enum { UART_FULL = 1 << 5, SYSTICK_ON = 7, CYCLES_PER_TICK = 12000 };

extern uint32_t link_data_load[], link_data[], link_data_end[], link_bss[], link_bss_end[],
	link_stack_top[];

const char port_name[] = "m3";

void reset(void);
void tick(void);
void *memset(void *memory, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

void port_put(char c)
{
	while (UART_FLAGS & UART_FULL)
		;
	UART_DATA = (uint32_t)(unsigned char)c;
}

void port_begin_task(TCB_t *tcb, unsigned depth)
{
	(void)tcb, (void)depth;
}

/* The compiler calls these by itself. */
void *memset(void *memory, int value, size_t size)
{
	volatile unsigned char *at = memory;

	while (size--)
		*at++ = (unsigned char)value;
	return memory;
}

void *memcpy(void *to, const void *from, size_t size)
{
	volatile unsigned char *at = to;
	const unsigned char *source = from;

	while (size--)
		*at++ = *source++;
	return to;
}

void tick(void)
{
	kernel_tick();
}

static void stay(void)
{
	for (;;)
		;
}

void reset(void)
{
	uint32_t *from = link_data_load;

	for (uint32_t *at = link_data; at < link_data_end;)
		*at++ = *from++;
	for (uint32_t *at = link_bss; at < link_bss_end;)
		*at++ = 0;
	scenario_run();
	SYSTEM_CLOCK = SYSTEM_CLOCK_RESET;
	SYSTICK_RELOAD = CYCLES_PER_TICK;
	SYSTICK_CONTROL = SYSTICK_ON;
	for (;;)
		;
}

typedef void vector(void);

__attribute__((section(".vectors"), used)) static vector *const vectors[16] = {
	(vector *)(void *)link_stack_top,
	reset,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	stay,
	tick,
};
