# SPDX-License-Identifier: Apache-2.0
"""Frames that try to get around a filter, as rows of tables, and the place where they are sent. A row says
what is sent, what the two policies must answer, and whether a host that filters nothing would hear it."""
