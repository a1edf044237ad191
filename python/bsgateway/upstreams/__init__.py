"""Child servers that let ``bsgateway serve`` answer with no provider key and no model server installed.

``local_model`` serves a small real model, ``stand_in`` answers in the place of a provider whose key is not set, and
``supervisor`` starts and stops both as child processes; ``child`` is the children's half of that contract.
Nothing here imports LiteLLM.
"""
