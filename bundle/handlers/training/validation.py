"""When a training is validated."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler as MonaiValidationHandler


class ValidationHandler(MonaiValidationHandler):
    """MONAI's `ValidationHandler`, that validates the last epoch as well, whatever the interval.

    With MONAI's, the epochs after the last multiple of the interval go unscored, and the weights of the best epoch never are
    those of the last ones, which are the best more often than not. All arguments are MONAI's.
    """

    def attach(self, engine: Engine) -> None:
        """As MONAI's, and after the last epoch."""
        super().attach(engine)
        if self.epoch_level:
            engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._last_alone), self)

    def _last_alone(self, engine: Engine, epoch: int) -> bool:
        """Whether this is the last epoch, and not validated anyway."""
        return epoch == engine.state.max_epochs and epoch % self.interval != 0
