from tests.scoring.conftest import checkpoint, eval_config, evaluated, store, workspace

__all__ = ["checkpoint", "eval_config", "evaluated", "store", "workspace"]
