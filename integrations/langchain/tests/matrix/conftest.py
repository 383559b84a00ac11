"""Lets a failing cell say what differs."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("integrations.langchain.tests.matrix.harness")
