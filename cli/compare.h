/* SPDX-License-Identifier: Apache-2.0 */
/* The semantic difference of two policies, by their manifests (policy/image.h). Pure. */
#pragma once

#include "cleanup.h"

struct json_object;

/*
 * What turns old into fresh; old may be NULL for "no policy". An array, empty when both mean the same:
 *   {kind: "safety"|"zone"|"set"|"chain"|"rule", change: "added"|"removed"|"changed"|"moved", chain, name, from, to}
 * chain is there for rules only. from and to say what it was and is; for a moved rule they are its places
 * in the chain, from 1. Places in files, file names and the way of writing make no difference.
 * NULL when out of memory.
 */
struct json_object *compare_manifests(struct json_object *old,
				      struct json_object *fresh) _must_check_;
