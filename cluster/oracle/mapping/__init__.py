"""What `recon.yaml` makes of a record, read a second time: plain, slow, one record after another.

`docs/configuration.md` says what each key means; these modules are meant to be read beside it. They share nothing with
the engine's reading but the vocabulary of `schemas`.
"""
