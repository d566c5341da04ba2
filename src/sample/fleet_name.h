/* SPDX-License-Identifier: MIT */
/*
 * fleet_name.h: to which group a process belongs, by name: a rule of the user, or its name, program or unit.
 *
 * What is read of a process for that is read once in its life. Names are made fit for labels: short, UTF-8, printable.
 */
#ifndef VMAT_FLEET_NAME_H
#define VMAT_FLEET_NAME_H

#include <vmatlas/fleet.h>

#define VMAT_GROUP_NAME 64

struct vmat_namer;

int vmat_namer_new(struct vmat_namer **ret, const struct vmat_fleet_options *options,
		   struct vmat_error *err);
void vmat_namer_free(struct vmat_namer *namer);

/* Fills `ret`, VMAT_GROUP_NAME bytes. What cannot be read gives the process's own name. */
void vmat_namer_name(struct vmat_namer *namer, const struct vmat_glance *who, char *ret);

/* The service or scope in a line of /proc/PID/cgroup: its last part that ends so. False when there is none. Pure. */
bool vmat_unit_of_cgroup(const char *text, char *ret, size_t size);

/* Bytes that are not printable UTF-8 become '?'; "_other" is the name of the rest and of no group. Pure. */
void vmat_group_name_clean(char *name);

#endif
