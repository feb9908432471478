/*
 * Branches of training that a checkpoint still has, folded into the convolution they amount to.
 *
 *     MobileOneBlock          .rbr_conv.N, .rbr_scale, .rbr_skip      -> .reparam_conv
 *     RepMixer                .mixer.*, .norm.*, .layer_scale         -> .reparam_conv
 *     ReparamLargeKernelConv  .lkb_origin, .small_conv                -> .lkb_reparam
 *     RepCPE                  .pe                                     -> .reparam_conv
 *
 * Each branch is a convolution, or none, and a BatchNorm; their kernels are added, smaller ones in the
 * middle of larger ones. Computed in f64. Modules as in apple/ml-mobileclip (mobileclip/models/mci.py,
 * modules/common/mobileone.py, modules/image/replknet.py).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_BRANCHES_H
#define FASTVLM_LOAD_BRANCHES_H

#include "load/tensor_set.h"

/**
 * Puts a derived weight and bias in the place of each group of branches.
 *
 * Errors: FORMAT (a branch's tensor is missing or misshapen), UNSUPPORTED.
 */
gboolean fastvlm_branches_fold(FastvlmTensorSet *set, GError **error);

#endif
