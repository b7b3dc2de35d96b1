// Constants that follow from one world's masses and inertias, by one warp: the body of a device function, in plain CUDA
// C++. It computes what palestra.physics.inertial_constants computes with tensors, for one world.
//
// Constants (set before this text): NV degrees of freedom, NB bodies, NU actuators.
//
// Arguments: lane; pointers to what all worlds share: linear, angular, turned (NB × 3 × NV), frames (NB × 3 × 3), rest
// (NV × NV), descends (NB × NB), average (NV × NV), moment (NU × NV), moving (NB); to this world's mass (NB), inertia
// (NB × 3), ipos (NB × 3), armature (NV); out: subtreemass (NB), dof_invweight (NV), body_invweight (NB × 2),
// acc (NU).

__shared__ float s_A[NV * NV];   // the joint-space inertia, scaled, in the end its inverse
__shared__ float s_J[3 * NV];    // Jacobian of one body's centre, later a column or a row
__shared__ float s_size[NV];

auto sum = [](float x) {
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) x += __shfl_xor_sync(0xffffffffu, x, o);
    return x;
};
auto centre = [&](int body) {  // Jacobian of a body's centre of mass, into s_J
    const float* R = frames + 9 * body;
    const float* p = ipos + 3 * body;
    float arm[3];
    for (int k = 0; k < 3; ++k) arm[k] = R[3 * k] * p[0] + R[3 * k + 1] * p[1] + R[3 * k + 2] * p[2];
    for (int i = lane; i < NV; i += 32) {
        const float* l = linear + 3 * NV * body + i;
        const float* w = angular + 3 * NV * body + i;
        s_J[i] = l[0] + w[NV] * arm[2] - w[2 * NV] * arm[1];
        s_J[NV + i] = l[NV] + w[2 * NV] * arm[0] - w[0] * arm[2];
        s_J[2 * NV + i] = l[2 * NV] + w[0] * arm[1] - w[NV] * arm[0];
    }
    __syncwarp();
};

// --- joint-space inertia ----------------------------------------------------------------------------------------------

for (int e = lane; e < NV * NV; e += 32) s_A[e] = rest[e] + (e / NV == e % NV ? armature[e / NV] : 0.0f);
__syncwarp();
for (int body = 0; body < NB; ++body) {
    centre(body);
    const float m = mass[body];
    const float* I = inertia + 3 * body;
    const float* T = turned + 3 * NV * body;
    for (int e = lane; e < NV * NV; e += 32) {
        const int i = e / NV, j = e % NV;
        float moved = 0.0f, spun = 0.0f;
        for (int k = 0; k < 3; ++k) {
            moved += s_J[k * NV + i] * s_J[k * NV + j];
            spun += I[k] * T[k * NV + i] * T[k * NV + j];
        }
        s_A[e] += m * moved + spun;
    }
    __syncwarp();
}

// --- its inverse, by sweeping all pivots ------------------------------------------------------------------------------

for (int i = lane; i < NV; i += 32) s_size[i] = rsqrtf(s_A[i * NV + i]);
__syncwarp();
for (int e = lane; e < NV * NV; e += 32) s_A[e] *= s_size[e / NV] * s_size[e % NV];
__syncwarp();
for (int k = 0; k < NV; ++k) {
    for (int i = lane; i < NV; i += 32) s_J[i] = s_A[k * NV + i] - (i == k ? 1.0f : 0.0f);
    const float over_pivot = 1.0f / s_A[k * NV + k];
    __syncwarp();
    for (int e = lane; e < NV * NV; e += 32) s_A[e] -= s_J[e / NV] * over_pivot * s_J[e % NV];
    __syncwarp();
}
for (int e = lane; e < NV * NV; e += 32) {
    const int i = e / NV, j = e % NV;
    s_A[e] = ((i == j ? 2.0f : 0.0f) - s_A[e]) * s_size[i] * s_size[j];
}
__syncwarp();

// --- constants --------------------------------------------------------------------------------------------------------

for (int b = lane; b < NB; b += 32) {
    float total = 0.0f;
    for (int c = 0; c < NB; ++c) total += descends[b * NB + c] * mass[c];
    subtreemass[b] = total;
}
for (int i = lane; i < NV; i += 32) {
    float mean = 0.0f;
    for (int j = 0; j < NV; ++j) mean += average[i * NV + j] * s_A[j * NV + j];
    dof_invweight[i] = mean;
}
auto mean_of_rows = [&](const float* rows) {  // of the diagonal of J A⁻¹ Jᵀ, three rows of NV
    float total = 0.0f;
    for (int i = lane; i < NV; i += 32) {
        for (int k = 0; k < 3; ++k) {
            float product = 0.0f;
            for (int j = 0; j < NV; ++j) product += s_A[i * NV + j] * rows[k * NV + j];
            total += product * rows[k * NV + i];
        }
    }
    return sum(total) * (1.0f / 3.0f);
};
for (int body = 0; body < NB; ++body) {
    centre(body);
    const float moved = mean_of_rows(s_J), spun = mean_of_rows(turned + 3 * NV * body);
    if (lane == 0) {
        body_invweight[2 * body] = moved * moving[body];
        body_invweight[2 * body + 1] = spun * moving[body];
    }
    __syncwarp();
}
for (int u = 0; u < NU; ++u) {
    float total = 0.0f;
    for (int i = lane; i < NV; i += 32) {
        float product = 0.0f;
        for (int j = 0; j < NV; ++j) product += moment[u * NV + j] * s_A[j * NV + i];
        total += product * product;
    }
    total = sum(total);
    if (lane == 0) acc[u] = sqrtf(total);
}
