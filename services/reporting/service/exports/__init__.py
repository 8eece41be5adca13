"""Exports: tables of any size from where they are kept into files of any form, streaming.

A source yields a table in Arrow pages; a writer turns them into bytes as they come. Neither holds
more than a page, so an export needs the same memory whatever its size.
"""
