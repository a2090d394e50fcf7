"""What a quantized model computes with: the packed weight and the packed linear layer of optimum-quanto.

The one room that imports optimum-quanto; below it stand `grid` and `backbone`.
"""
