/* SPDX-License-Identifier: MIT */
/*
 * prim_calls.h: lives of primitives that prim_calls.c goes through, and which stand in a file of their own.
 */
#ifndef VMAT_PRIM_CALLS_H
#define VMAT_PRIM_CALLS_H

void live_track_auto(void);
void live_track_async(void);
void live_track_sync(void);
void live_track_mprotect(void);
void live_cow(void);
void live_snapshot_fork(void);
void live_snapshot_protect(void);

#endif
