"""Build a teacher for a student from what a config says of it."""

from dataclasses import dataclass
from typing import Any

from mmengine.model import BaseModel

from mmmuse.arguments import ImageShape, PositiveInt
from mmmuse.tapping.loaded_order import ImageOrder

from .channel_order import ChannelOrder
from .input_conversion import InputConversion
from .teacher import Teacher, build_teacher_network, teacher_loaded_order


@dataclass(frozen=True)
class TeacherConfig:
    """What a config says of one teacher; see :class:`mmmuse.distillers.OfflineDistiller`.

    Attributes:
        teacher: Its config, path or name, or the built model.
        checkpoint: File of its weights.
        taps: Of the teacher.
        input_size: Height and width of its input.
        channel_order: Against the student's.
        input_shape: ``(C, H, W)`` of its dry run.
        image_order: That its own pipeline loads.
    """

    teacher: Any
    checkpoint: str | None = None
    taps: dict | str | None = None
    input_size: PositiveInt | None = None
    channel_order: ChannelOrder | None = None
    input_shape: ImageShape | None = None
    image_order: ImageOrder | None = None


def build_teacher(
    config: TeacherConfig,
    student: BaseModel,
    student_taps: dict | str | None = None,
    image_order: ImageOrder | None = None,
    trust: bool = False,
    prefix: str = 'teacher_',
) -> Teacher:
    """Build a teacher, which sees a student's images and is on its device.

    Args:
        config: What it is built from.
        student: The network that learns.
        student_taps: Taps of the student, for a teacher without taps that is not a network of
            another library.
        image_order: Order of the channels that the student's pipeline loads.
        trust: Load a checkpoint that holds more than weights.
        prefix: Of its options, for messages.

    Raises:
        InputError: See :class:`mmmuse.distillers.OfflineDistiller`.
    """
    network = build_teacher_network(config.teacher, config.checkpoint, trust, config.input_size)
    conversion = InputConversion(
        student.data_preprocessor,
        network.data_preprocessor,
        config.input_size,
        config.channel_order,
        image_order,
        config.image_order or teacher_loaded_order(config.teacher),
        f'{prefix}channel_order',
    )
    taps = config.taps
    if taps is None and not hasattr(network, 'default_taps'):
        taps = student_taps
    teacher = Teacher(network, taps, conversion, config.input_shape)
    device = next(student.parameters()).device
    teacher.convert(lambda tensor: tensor.to(device))
    return teacher
