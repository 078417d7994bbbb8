"""Networks by name, ready to train: plain modules, with torchvision's names of weights, and training recipes.

>>> import chainrule as cr
>>> model = cr.models.resnet20(num_classes=10)
>>> model.recipe.batch_size
128
"""

from .alexnet import AlexNet, alexnet
from .autoencoder import ConvolutionalAutoEncoder, convolutional_autoencoder
from .cifar_resnet import CifarResNet, resnet20, resnet32, resnet44, resnet56, resnet110
from .gated_cnn import GatedCNN, gated_cnn
from .googlenet import GoogLeNet, GoogLeNetOutputs, auxiliary_cross_entropy, googlenet
from .highway import HighwayNetwork, highway
from .language_model import LanguageModel, language_model
from .lenet import LeNet5, lenet5
from .mlp import MLP, mlp
from .mnist import MnistNet, mnist_net
from .recipe import Recipe
from .resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50, resnet101, resnet152
from .sentence_cnn import SentenceCNN, sentence_cnn
from .sequence_to_sequence import SequenceToSequence, sequence_to_sequence
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
