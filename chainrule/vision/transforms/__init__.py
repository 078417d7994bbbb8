"""What is done to images before a network sees them, under torchvision's names; one by one, or to whole batches.

An image is a uint8 array (height, width) or (height, width, channels) or a Pillow image until `ToTensor` makes a tensor
(channels, height, width) of it. A batch has one dimension more in front. Every transform here but `Lambda` has, besides
the call for one image, ``batch(images)``, with the same results to the bit; `DataLoader` uses it. `MixUp` is for
batches and their labels.

Random numbers are those of the rows that a `DataLoader` reads, a function of its seed, the place of the row and the
number of the draw, whatever the number of workers; elsewhere those of ``manual_seed``.
"""

from .colour import ColorJitter as ColorJitter
from .colour import GaussianNoise as GaussianNoise
from .colour import Grayscale as Grayscale
from .composition import Compose as Compose
from .composition import Lambda as Lambda
from .composition import RandomApply as RandomApply
from .composition import RandomChoice as RandomChoice
from .composition import works_on_batches as works_on_batches
from .crops import CenterCrop as CenterCrop
from .crops import Pad as Pad
from .crops import RandomCrop as RandomCrop
from .crops import RandomHorizontalFlip as RandomHorizontalFlip
from .crops import RandomVerticalFlip as RandomVerticalFlip
from .erasing import RandomErasing as RandomErasing
from .geometry import ElasticTransform as ElasticTransform
from .geometry import RandomAffine as RandomAffine
from .geometry import RandomResizedCrop as RandomResizedCrop
from .geometry import RandomRotation as RandomRotation
from .geometry import Resize as Resize
from .mixing import MixUp as MixUp
from .sampling import InterpolationMode as InterpolationMode
from .tensors import Normalize as Normalize
from .tensors import ToTensor as ToTensor
