// Newton's method for one world's constraint forces, by one warp: the body of a device function, in plain CUDA C++.
//
// It minimises MuJoCo's primal cost ½(x − x₀)ᵀM(x − x₀) + s(Jx − a_ref) over accelerations x, where M x₀ is the smooth
// force and s the sum over constraint rows (MuJoCo documentation, "Computation", "The primal problem"); so a step is
// as in MuJoCo Warp's solver: gradient g = Mx − f_smooth − Jᵀf, Hessian H = M + Jᵀ s″ J, search −H⁻¹g, line search.
//
// Constants (set before this text): NV degrees of freedom, NJ constraint rows allocated, MAX_DIM rows of a contact,
// NC entries of M. Lane i holds column i of H and entry i of the vectors, lane NV the gradient while H is factorised;
// rows are dealt out to the lanes in turn. Rows of J, M and L lie SJ, SL floats apart: 4 times an odd number, so that
// eight lanes read their rows' float4 from different banks. A lone world's time is latency, and that of many the
// instruction cache: what is long stands here once.
//
// Arguments: lane; iterations, ls_iterations, tolerance, ls_tolerance, impratio_invsqrt; ne, nf, nefc, nacon;
// pointers to this world's qfrc_smooth, warmstart, M, J (rows nv_pad apart), D, aref, frictionloss, type, id; to all
// worlds' contacts' friction (5 each), dim and address (contact_stride each); M_place (row · 65536 + column of M's
// entries); out: qacc, qfrc_constraint, Ma, force, state, niter, overflow.

constexpr unsigned ALL = 0xffffffffu;
constexpr float MIN_VALUE = 1e-15f;
constexpr float NOISE = 8.0f * 1.1920929e-07f;  // rounding of a sum, relative to its terms
constexpr bool CONES = MAX_DIM > 1;
constexpr int Q = (NV + 3) / 4;                                   // float4s of a vector
constexpr int SJ = 4 * (Q | 1), SL = 4 * (((NV + 4) / 4) | 1);
constexpr int SATISFIED = 0, QUADRATIC = 1, LINEAR_NEG = 2, LINEAR_POS = 3, CONE = 4;
constexpr int EQUALITY = 1, FRICTION = 2, UNILATERAL = 3, NORMAL = 4, TANGENT = 5;
constexpr int CONTACT_ELLIPTIC = 7;
constexpr int BY_ITERATIONS = 1 << 9, BY_LS_ITERATIONS = 1 << 10;
static_assert(NV <= 31, "one lane is left for the gradient");

__shared__ __align__(16) float s_J[NJ * SJ];
__shared__ __align__(16) float s_M[NV * SJ];
__shared__ __align__(16) float s_L[NV * SL];
__shared__ __align__(16) float s_x[32];
__shared__ float s_jar[NJ], s_jv[NJ], s_D[NJ], s_force[NJ];
__shared__ float s_scale[NJ];  // friction loss; of a contact's rows mu, or the friction coefficient along the row
__shared__ float s_cone[CONES ? NJ * MAX_DIM : 1];  // of a contact: s″, row by row; in the line search its polynomial
__shared__ short s_kind[NJ], s_state[NJ], s_dim[NJ], s_list[NJ];

const float4* s_J4 = reinterpret_cast<const float4*>(s_J);
const float4* s_M4 = reinterpret_cast<const float4*>(s_M);
const float4* s_L4 = reinterpret_cast<const float4*>(s_L);
const float4* s_x4 = reinterpret_cast<const float4*>(s_x);

auto sum3 = [](float& a, float& b, float& c) {
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) {
        const float d = __shfl_xor_sync(ALL, a, o), e = __shfl_xor_sync(ALL, b, o), f = __shfl_xor_sync(ALL, c, o);
        a += d, b += e, c += f;
    }
};
auto over = [](float x, float y) { return x / (y != 0.0f ? y : MIN_VALUE); };
auto dot_row = [&](const float4* matrix, int row) {  // row of J or M times s_x
    float out = 0.0f;
#pragma unroll
    for (int c = 0; c < Q; ++c) {
        const float4 a = matrix[row * (SJ / 4) + c], x = s_x4[c];
        out += a.x * x.x + a.y * x.y + a.z * x.z + a.w * x.w;
    }
    return out;
};

// --- load -------------------------------------------------------------------------------------------------------------

const bool has_dof = lane < NV;
const int rows = nefc < NJ ? nefc : NJ;
for (int i = lane; i < rows * (SJ - NV); i += 32) s_J[i / (SJ - NV) * SJ + NV + i % (SJ - NV)] = 0.0f;
for (int i = lane; i < rows * NV; i += 32) s_J[i / NV * SJ + i % NV] = J[i / NV * nv_pad + i % NV];
for (int i = lane; i < NV * SJ; i += 32) s_M[i] = 0.0f;
float x = has_dof ? warmstart[lane] : 0.0f;
const float smooth = has_dof ? qfrc_smooth[lane] : 0.0f;
s_x[lane] = x;
__syncwarp();
for (int i = lane; i < NC; i += 32) {
    const int row = M_place[i] >> 16, column = M_place[i] & 0xffff;
    const float value = M[i];
    s_M[row * SJ + column] = value;
    s_M[column * SJ + row] = value;
}
for (int r = lane; r < rows; r += 32) {
    int kind = r < ne ? EQUALITY : r < ne + nf ? FRICTION : UNILATERAL;
    float scale = kind == FRICTION ? frictionloss[r] : 0.0f;
    int dim = 1;
    if (CONES && kind == UNILATERAL && type[r] == CONTACT_ELLIPTIC) {
        const int contact = id[r];
        kind = TANGENT;
        if (contact >= 0 && contact < nacon) {
            const int first = contact_address[contact * contact_stride];
            const float* friction = contact_friction + 5 * contact;
            if (first == r) {
                dim = contact_dim[contact];
                kind = dim <= rows - r ? NORMAL : UNILATERAL;  // else the buffer is full: reported elsewhere
                scale = friction[0] * impratio_invsqrt;
            } else if (first >= 0 && r - first > 0 && r - first <= 5) {
                scale = friction[r - first - 1];
            }
        }
    }
    s_kind[r] = kind, s_dim[r] = dim, s_scale[r] = scale;
    s_state[r] = SATISFIED, s_force[r] = 0.0f;
    s_D[r] = D_in[r];
    s_jar[r] = dot_row(s_J4, r) - aref[r];
}
__syncwarp();
float Mx = has_dof ? dot_row(s_M4, lane) : 0.0f;
float trace = has_dof ? s_M[lane * SJ + lane] : 0.0f, unused = 0.0f, unused_too = 0.0f;
sum3(trace, unused, unused_too);
const float scale = 1.0f / fmaxf(trace, MIN_VALUE);

// --- iterate ----------------------------------------------------------------------------------------------------------

struct Point {  // on the line: cost above that at the start, slope, curvature
    float cost, slope, curvature;
};
float alpha = 0.0f, improvement = 0.0f, gradient_norm = 0.0f, decrement = 0.0f, pulled = 0.0f;
int iteration = 0, flags = 0;
while (true) {
    // forces and states of the rows, and the cost of those that are no equalities
    bool changed = false;
    int cones = 0;
    float row_cost = 0.0f;
    for (int r = lane; r < rows; r += 32) {
        const int kind = s_kind[r];
        if (kind == TANGENT) continue;
        const float jar = s_jar[r], D = s_D[r], row_scale = s_scale[r];
        int now = QUADRATIC;
        float f = -D * jar, cost = 0.5f * D * jar * jar;
        if (kind == EQUALITY) {
            cost = 0.0f;
        } else if (kind == FRICTION) {
            const float range = over(row_scale, D);
            if (fabsf(jar) >= range) {
                now = jar < 0.0f ? LINEAR_NEG : LINEAR_POS;
                f = jar < 0.0f ? row_scale : -row_scale;
                cost = row_scale * (fabsf(jar) - 0.5f * range);
            }
        } else if (kind == UNILATERAL) {
            if (jar >= 0.0f) now = SATISFIED, f = 0.0f, cost = 0.0f;
        } else if (CONES) {
            const int dim = s_dim[r];
            const float mu = row_scale, n = jar * mu;
            float tt = 0.0f, u[MAX_DIM], a[MAX_DIM];
#pragma unroll
            for (int j = 1; j < MAX_DIM; ++j) {
                const bool used = j < dim;
                const float tangent = used ? s_jar[r + j] : 0.0f;
                a[j] = used ? s_scale[r + j] : 0.0f;
                u[j] = tangent * a[j];
                tt += u[j] * u[j], cost += used ? 0.5f * s_D[r + j] * tangent * tangent : 0.0f;
            }
            const float t = tt > 0.0f ? sqrtf(tt) : 0.0f;
            const float dm = D / (mu * mu * (1.0f + mu * mu)), per_t = 1.0f / fmaxf(t, MIN_VALUE);
            if (n >= mu * t) now = SATISFIED, f = 0.0f, cost = 0.0f;
            else if (mu * n + t > 0.0f) now = CONE, f = -dm * (n - mu * t) * mu, cost = 0.5f * dm * (n - mu * t) * (n - mu * t);
            const float mu_n_t = mu * n * per_t;
            if (now == CONE) s_cone[r * MAX_DIM] = dm * mu * mu, ++cones;
#pragma unroll
            for (int j = 1; j < MAX_DIM; ++j) {
                if (j >= dim) break;
                u[j] *= per_t;
                s_force[r + j] = now == CONE ? -f * u[j] * a[j] : now == QUADRATIC ? -s_D[r + j] * s_jar[r + j] : 0.0f;
                s_state[r + j] = now;
                if (now != CONE) continue;
                s_cone[r * MAX_DIM + j] = s_cone[(r + j) * MAX_DIM] = -dm * mu * mu * a[j] * u[j];
#pragma unroll
                for (int i = 1; i <= j; ++i) {
                    const float h = dm * a[j] * a[i] * (mu_n_t * u[j] * u[i] + (i == j ? mu * mu - mu_n_t : 0.0f));
                    s_cone[(r + j) * MAX_DIM + i] = s_cone[(r + i) * MAX_DIM + j] = h;
                }
            }
        }
        row_cost += cost;
        changed |= now != s_state[r];
        s_force[r] = f, s_state[r] = now;
    }
    changed = __any_sync(ALL, changed);
    const bool any_cone = CONES && __any_sync(ALL, cones > 0);
    __syncwarp();

    // gradient
    pulled = 0.0f;
    if (has_dof) {
#pragma unroll 4
        for (int r = 0; r < rows; ++r) pulled += s_J[r * SJ + lane] * s_force[r];
    }
    const float g = has_dof ? Mx - smooth - pulled : 0.0f;
    float gg = g * g;
    sum3(gg, row_cost, unused);
    if (iteration > 0) {
        // where the cost was quadratic all along the last step, what is left is known without rounding
        const bool ray = !changed && !any_cone;
        const float left = fabsf(1.0f - alpha);
        gradient_norm = ray ? left * gradient_norm : sqrtf(gg);
        const bool done = alpha == 0.0f || (scale * improvement > 0.0f && scale * improvement < tolerance) ||
                          scale * gradient_norm < tolerance || (ray && 0.5f * scale * decrement * left * left < tolerance);
        if (done || iteration >= iterations) {
            if (!done) flags |= BY_ITERATIONS;
            break;
        }
    }
    gradient_norm = sqrtf(gg);

    // Hessian: column `lane`; in lane NV the gradient
    float h[4 * Q];
    s_x[lane] = g;
    int listed = 0, of_cones = 0;  // of the rows in the quadratic state, and from the end of cones' normal rows
    for (int base = 0; base < rows; base += 32) {
        const int r = base + lane, before = (1u << lane) - 1u;
        const int state = r < rows ? s_state[r] : SATISFIED;
        const unsigned votes = __ballot_sync(ALL, state == QUADRATIC);
        if (state == QUADRATIC) s_list[listed + __popc(votes & before)] = r;
        listed += __popc(votes);
        if (!any_cone) continue;
        const bool cone = state == CONE && s_kind[r] == NORMAL;
        const unsigned cone_votes = __ballot_sync(ALL, cone);
        if (cone) s_list[NJ - 1 - of_cones - __popc(cone_votes & before)] = r;
        of_cones += __popc(cone_votes);
    }
    __syncwarp();
#pragma unroll
    for (int c = 0; c < Q; ++c) {
        const float4 a = has_dof ? s_M4[lane * (SJ / 4) + c] : s_x4[c];
        h[4 * c] = a.x, h[4 * c + 1] = a.y, h[4 * c + 2] = a.z, h[4 * c + 3] = a.w;
    }
    auto add_row = [&](int r, float weight) {
#pragma unroll
        for (int c = 0; c < Q; ++c) {
            const float4 a = s_J4[r * (SJ / 4) + c];
            h[4 * c] += a.x * weight, h[4 * c + 1] += a.y * weight;
            h[4 * c + 2] += a.z * weight, h[4 * c + 3] += a.w * weight;
        }
    };
#pragma unroll 2
    for (int i = 0; i < listed; ++i) {
        const int r = s_list[i];
        add_row(r, has_dof ? s_D[r] * s_J[r * SJ + lane] : 0.0f);
    }
    for (int k = 0; k < of_cones; ++k) {
        const int r = s_list[NJ - 1 - k], dim = s_dim[r];
        float of_lane[MAX_DIM];
#pragma unroll
        for (int j = 0; j < MAX_DIM; ++j) of_lane[j] = has_dof && j < dim ? s_J[(r + j) * SJ + lane] : 0.0f;
#pragma unroll
        for (int j = 0; j < MAX_DIM; ++j) {
            if (j >= dim) break;
            float weight = 0.0f;
#pragma unroll
            for (int i = 0; i < MAX_DIM; ++i) weight += i < dim ? s_cone[(r + j) * MAX_DIM + i] * of_lane[i] : 0.0f;
            add_row(r + j, weight);
        }
    }

    // H = LLᵀ, a column at a time; lane NV ends with y of Ly = g. Then Lᵀ search = −y
    float per_diagonal = 0.0f;
#pragma unroll
    for (int k = 0; k < NV; ++k) {
        const float inverse = rsqrtf(fmaxf(__shfl_sync(ALL, h[k], k), MIN_VALUE));
        const float l = h[k] * inverse;
        if (lane == k) per_diagonal = inverse;
        if (lane < SL) s_L[k * SL + lane] = l;
        __syncwarp();
#pragma unroll
        for (int c = (k + 1) / 4; c < Q; ++c) {
            const float4 a = s_L4[k * (SL / 4) + c];
            if (4 * c > k) h[4 * c] -= a.x * l;
            if (4 * c + 1 > k) h[4 * c + 1] -= a.y * l;
            if (4 * c + 2 > k) h[4 * c + 2] -= a.z * l;
            if (4 * c + 3 > k) h[4 * c + 3] -= a.w * l;
        }
    }
    float y = has_dof ? -s_L[lane * SL + NV] : 0.0f, search = 0.0f;
#pragma unroll
    for (int c = 0; c < Q; ++c) {  // this lane's column of L
        const float4 a = has_dof ? s_L4[lane * (SL / 4) + c] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        h[4 * c] = a.x, h[4 * c + 1] = a.y, h[4 * c + 2] = a.z, h[4 * c + 3] = a.w;
    }
#pragma unroll
    for (int k = NV - 1; k >= 0; --k) {
        const float z = __shfl_sync(ALL, y * per_diagonal, k);
        if (lane == k) search = z;
        if (lane < k) y -= h[k] * z;
    }

    // the line: along it, rows move by jv, and the smooth part and the equalities cost g1 a + g2 a²
    __syncwarp();
    s_x[lane] = search;
    __syncwarp();
    const float Mv = has_dof ? dot_row(s_M4, lane) : 0.0f;
    float g1 = search * (Mx - smooth), g2 = 0.5f * search * Mv, searched = search * search;
    for (int r = lane; r < rows; r += 32) {
        const float jv = dot_row(s_J4, r);
        s_jv[r] = jv;
        if (s_kind[r] == EQUALITY) g1 += jv * s_D[r] * s_jar[r], g2 += 0.5f * jv * s_D[r] * jv;
    }
    float slope0 = search * g;
    sum3(g1, g2, searched);
    sum3(slope0, unused, unused_too);
    decrement = -slope0;  // and the curvature at the start: H search = −g
    if (iteration > 0 && 0.5f * scale * decrement < tolerance) break;
    if (CONES) {
        for (int r = lane; r < rows; r += 32) {
            if (s_kind[r] != NORMAL) continue;
            const int dim = s_dim[r];
            const float mu = s_scale[r], a0 = s_jar[r], b0 = s_jv[r], D = s_D[r];
            float q0 = 0.5f * a0 * D * a0, q1 = b0 * D * a0, q2 = 0.5f * b0 * D * b0;
            float uu = 0.0f, uv = 0.0f, vv = 0.0f, across = 0.0f, u[MAX_DIM], v[MAX_DIM];
#pragma unroll
            for (int j = 1; j < MAX_DIM; ++j) {
                if (j >= dim) break;
                const float a = s_jar[r + j], b = s_jv[r + j], d = s_D[r + j], f = s_scale[r + j];
                q0 += 0.5f * a * d * a, q1 += b * d * a, q2 += 0.5f * b * d * b;
                u[j] = a * f, v[j] = b * f;
#pragma unroll
                for (int i = 1; i < j; ++i) {
                    const float c = u[j] * v[i] - u[i] * v[j];
                    across += c * c;
                }
                uu += u[j] * u[j], uv += u[j] * v[j], vv += v[j] * v[j];
            }
            const float v_norm = vv > 0.0f ? sqrtf(vv) : 0.0f;
            float* quad = s_cone + MAX_DIM * r;
            quad[0] = q0, quad[1] = q1, quad[2] = q2;
            quad[3] = a0 * mu, quad[4] = b0 * mu, quad[5] = vv > 0.0f ? across / vv : uu;
            quad[6] = vv > 0.0f ? uv / v_norm : 0.0f, quad[7] = v_norm, quad[8] = D / (mu * mu * (1.0f + mu * mu));
        }
    }
    const float slope_tolerance = fmaxf(tolerance * ls_tolerance * sqrtf(searched) / scale, 1e-6f);
    const float row_curvature = fmaxf(decrement - 2.0f * g2, 0.0f);
    const float rounding = NOISE * (sqrtf(2.0f * fmaxf(row_cost, 0.0f) * row_curvature) + fabsf(g1));
    const float accepted = fmaxf(slope_tolerance, rounding);
    Point lo = {0.0f, slope0, decrement}, hi = lo;
    float lo_alpha = 0.0f, hi_alpha = 0.0f;
    alpha = improvement = 0.0f;
    bool found = fabsf(slope0) < rounding;
    for (int i = -1; i < ls_iterations && !found; ++i) {  // first the Newton step, then a bracket
        float a[3] = {1.0f, 1.0f, 1.0f};
        if (i >= 0) {
            a[0] = lo_alpha - over(lo.slope, lo.curvature), a[1] = hi_alpha - over(hi.slope, hi.curvature);
            a[2] = 0.5f * (lo_alpha + hi_alpha);
        }
        Point p[3] = {};
        for (int r = lane; r < rows; r += 32) {
            const int kind = s_kind[r];
            if (kind == EQUALITY || kind == TANGENT) continue;
            const float jar = s_jar[r], jv = s_jv[r], D = s_D[r], row_scale = s_scale[r];
            if (kind == UNILATERAL) {
                const float d = jv * D, half = 0.5f * D * jar * jar, cost0 = jar < 0.0f ? half : 0.0f;
#pragma unroll
                for (int j = 0; j < 3; ++j) {
                    const float here = jar + a[j] * jv;
                    const bool on = here < 0.0f;
                    p[j].cost += (on ? a[j] * (d * jar + 0.5f * a[j] * jv * d) + half : 0.0f) - cost0;
                    p[j].slope += on ? d * here : 0.0f;
                    p[j].curvature += on ? jv * d : 0.0f;
                }
            } else if (kind == FRICTION) {
                const float range = over(row_scale, D);
                auto cost_of = [&](float v) {
                    return fabsf(v) < range ? 0.5f * D * v * v : row_scale * (fabsf(v) - 0.5f * range);
                };
                const float cost0 = cost_of(jar);
#pragma unroll
                for (int j = 0; j < 3; ++j) {
                    const float here = jar + a[j] * jv;
                    const bool on = fabsf(here) < range;
                    p[j].cost += cost_of(here) - cost0;
                    p[j].slope += jv * (on ? D * here : here < 0.0f ? -row_scale : row_scale);
                    p[j].curvature += on ? D * jv * jv : 0.0f;
                }
            } else if (CONES) {
                const float* quad = s_cone + MAX_DIM * r;
                const float mu = row_scale, q1 = quad[1], q2 = quad[2], u0 = quad[3], v0 = quad[4], perp = quad[5];
                const float u_par = quad[6], v_norm = quad[7], dm = quad[8];
                const int start = s_state[r];
                const float t0 = sqrtf(fmaxf(u_par * u_par + perp, 0.0f)), r0 = u0 - mu * t0;
                const float cost0 = start == QUADRATIC ? quad[0] : start == CONE ? 0.5f * dm * r0 * r0 : 0.0f;
                const float gap0 = start == CONE ? 0.5f * dm * (mu * u0 + t0) * (mu * u0 + t0) : 0.0f;
#pragma unroll
                for (int j = 0; j < 3; ++j) {  // quadratic less cone cost is ½ dm (mu n + t)²
                    const float n = u0 + a[j] * v0, w = u_par + a[j] * v_norm, tt = fmaxf(w * w + perp, 0.0f);
                    const float per_t = tt > 0.0f ? rsqrtf(tt) : 0.0f, t = tt * per_t;
                    const float rest = n - mu * t, bound = mu * n + t, moved = a[j] * (a[j] * q2 + q1);
                    if (n >= mu * t) {
                        p[j].cost -= cost0;
                    } else if (bound <= 0.0f) {
                        p[j].cost += start == SATISFIED ? 0.5f * dm * (1.0f + mu * mu) * (n * n + tt) : moved + gap0;
                        p[j].slope += 2.0f * a[j] * q2 + q1;
                        p[j].curvature += 2.0f * q2;
                    } else {
                        const float r1 = v0 - mu * w * v_norm * per_t;
                        const float t2 = perp * v_norm * v_norm * per_t * per_t * per_t;
                        const float delta = a[j] * (v0 - mu * v_norm * (u_par + w) / (t + t0));  // without cancellation
                        p[j].cost += start == CONE        ? 0.5f * dm * delta * (2.0f * r0 + delta)
                                     : start == QUADRATIC ? moved - 0.5f * dm * bound * bound
                                                          : 0.5f * dm * rest * rest;
                        p[j].slope += dm * rest * r1;
                        p[j].curvature += dm * (r1 * r1 - mu * rest * t2);
                    }
                }
            }
        }
#pragma unroll
        for (int o = 16; o > 0; o >>= 1) {
#pragma unroll
            for (int j = 0; j < 3; ++j) {
                const float c = __shfl_xor_sync(ALL, p[j].cost, o), s = __shfl_xor_sync(ALL, p[j].slope, o);
                const float v = __shfl_xor_sync(ALL, p[j].curvature, o);
                p[j].cost += c, p[j].slope += s, p[j].curvature += v;
            }
        }
#pragma unroll
        for (int j = 0; j < 3; ++j) {
            p[j].cost += a[j] * (a[j] * g2 + g1), p[j].slope += 2.0f * a[j] * g2 + g1, p[j].curvature += 2.0f * g2;
        }
        Point best = {1e10f, 0.0f, 0.0f};
        float best_alpha = 0.0f;
        bool converged = false;
#pragma unroll
        for (int j = 0; j < 3; ++j) {
            if (fabsf(p[j].slope) < accepted && p[j].cost < 0.0f) {
                converged = true;
                if (p[j].cost < best.cost) best = p[j], best_alpha = a[j];
            }
        }
        bool moved = false;
        auto replace = [&](Point& end, float& end_alpha, const Point& q, float q_alpha, bool crosses) {
            const bool nearer = (end.slope < q.slope && q.slope < 0.0f) || (end.slope > q.slope && q.slope > 0.0f);
            if (nearer || (crosses && end.slope < 0.0f && q.slope > 0.0f)) end = q, end_alpha = q_alpha, moved = true;
        };
        if (converged) {
            lo = hi = best, lo_alpha = hi_alpha = best_alpha;
        } else if (i < 0) {
            moved = true;
            if (p[0].slope < slope0) lo = p[0], lo_alpha = 1.0f;
            else hi = p[0], hi_alpha = 1.0f;
            continue;
        } else {
            replace(lo, lo_alpha, p[0], a[0], false);
            replace(lo, lo_alpha, p[2], a[2], false);
            replace(lo, lo_alpha, p[1], a[1], false);
            replace(hi, hi_alpha, p[1], a[1], true);
            replace(hi, hi_alpha, p[2], a[2], false);
            replace(hi, hi_alpha, p[0], a[0], false);
        }
        found = converged || !moved || (lo.cost < 0.0f && lo.slope < 0.0f && lo.slope > -slope_tolerance) ||
                (hi.cost < 0.0f && hi.slope > 0.0f && hi.slope < slope_tolerance);
        if (lo.cost < 0.0f || hi.cost < 0.0f) {
            alpha = lo.cost < hi.cost ? lo_alpha : hi_alpha;
            improvement = -fminf(lo.cost, hi.cost);
        }
    }
    if (!found) flags |= BY_LS_ITERATIONS;
    x += alpha * search, Mx += alpha * Mv;
    for (int r = lane; r < rows; r += 32) s_jar[r] += alpha * s_jv[r];
    ++iteration;
    __syncwarp();
}

// --- store ------------------------------------------------------------------------------------------------------------

if (has_dof) {
    qacc[lane] = x;
    qfrc_constraint[lane] = pulled;
    Ma[lane] = Mx;
}
for (int r = lane; r < rows; r += 32) force[r] = s_force[r], state[r] = s_state[r];
if (lane == 0) {
    *niter = iteration;
    if (flags) *overflow |= flags;
}
