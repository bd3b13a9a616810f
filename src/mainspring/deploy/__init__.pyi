from mainspring.deploy.dockerfile import WrittenContext as WrittenContext
from mainspring.deploy.dockerfile import write_dockerfile as write_dockerfile
from mainspring.deploy.image import BuiltImage as BuiltImage
from mainspring.deploy.image import build_image as build_image
