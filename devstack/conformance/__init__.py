"""The conformance kit: what a Runner or a scheduler in any language can be held against.

``vectors`` are files to read in a test of one's own; ``host`` and ``execute`` are scripts that ask
over the bus. It knows the contract alone, so that it judges by that and not by the service.
"""
