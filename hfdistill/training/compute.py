"""What a training cost, roughly, in a figure that methods can be compared by."""


def training_flops(parameters: int, trained: int, sampled: int) -> float:
    """Floating-point operations of a training: 6 · parameters · tokens trained + 2 · parameters · tokens sampled.

    The usual estimate for dense decoders (https://arxiv.org/abs/2001.08361): a token costs two operations a parameter
    in a forward pass, and twice as many more in a backward pass. Attention, the reading of rewards, references and
    teachers, and validation are left out; a model that is trained besides, as PPO's value model, is added by a call of
    its own.

    Args:
        parameters (`int`): of the model.
        trained (`int`): tokens of prompts and responses that took part in an optimizer step, once for each pass.
        sampled (`int`): tokens of prompts and responses that were sampled; a prompt is read once for each response.
    """
    return 6.0 * parameters * trained + 2.0 * parameters * sampled
