"""Image data sets and what is done to images, under torchvision's names.

>>> from chainrule.vision import datasets, transforms
>>> transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
>>> transform(np.zeros((28, 28), np.uint8)).shape
Size([1, 28, 28])
"""

from . import datasets as datasets
from . import transforms as transforms
