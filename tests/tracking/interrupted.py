"""A client of MLflow that dies in the midst of its work."""


class Interrupted:
    """Dies at its n-th writing call."""

    WRITES = (
        "create_run", "update_run", "log_batch", "log_artifact", "set_terminated", "create_logged_model",
        "log_model_artifacts", "finalize_logged_model", "log_outputs", "delete_logged_model",
    )  # fmt: skip

    def __init__(self, client, calls):
        self.client, self.calls = client, calls

    def __getattr__(self, name):
        if name in self.WRITES:
            self.calls -= 1
            if self.calls < 0:
                raise ConnectionError("killed")
        return getattr(self.client, name)
